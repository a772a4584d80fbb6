"""Roles, grants, passwords, safe paths and identities, without a database."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.access.model import (
    PERMISSIONS,
    ClaimNames,
    Grant,
    GrantDoesNotFit,
    Permission,
    Principal,
    Role,
    UnfitEmail,
    UnfitPassword,
    UnusableIdentity,
    check_new_password,
    clean_email,
    grants_of,
    identity_of,
    safe_next,
    session_is_live,
)

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def test_every_permission_has_roles_and_no_auditor_changes_anything() -> None:
    assert set(PERMISSIONS) == set(Permission)
    changing = {
        Permission.CHANGE_ACCOUNT,
        Permission.PREPARE,
        Permission.APPROVE,
        Permission.ADMINISTER,
    }
    auditor = Principal("u", "A", "a@x.uk", frozenset({Grant(Role.AUDITOR)}))
    assert {permission for permission in Permission if auditor.may(permission)} == (
        set(Permission) - changing
    )


def test_a_role_is_for_the_kind_of_thing_it_fits() -> None:
    Grant(Role.FINANCE_EDITOR, account_id="acc_1")
    Grant(Role.SERVICE_OWNER, source_id=3)
    Grant(Role.APPROVER)
    with pytest.raises(GrantDoesNotFit, match="Choose the account"):
        Grant(Role.FINANCE_VIEWER)
    with pytest.raises(GrantDoesNotFit, match="not a role for one account"):
        Grant(Role.AUDITOR, account_id="acc_1")
    with pytest.raises(GrantDoesNotFit, match="Choose the service"):
        Grant(Role.SERVICE_OWNER)


def test_an_editor_of_one_account_only_views_the_other() -> None:
    finance = Principal(
        "u",
        "A",
        "a@x.uk",
        frozenset(
            {
                Grant(Role.FINANCE_EDITOR, account_id="leeds"),
                Grant(Role.FINANCE_VIEWER, account_id="york"),
            }
        ),
    )
    assert finance.account_ids == {"leeds", "york"}
    assert finance.may(Permission.CHANGE_ACCOUNT, account_id="leeds")
    assert not finance.may(Permission.CHANGE_ACCOUNT, account_id="york")
    assert finance.may(Permission.SEE_ACCOUNT, account_id="york")
    assert not finance.may(Permission.SEE_ACCOUNT, account_id="hull")
    assert not finance.may(Permission.SEE_EVERYTHING)
    analyst = Principal("u", "A", "a@x.uk", frozenset({Grant(Role.ANALYST)}))
    assert analyst.may(Permission.SEE_ACCOUNT, account_id="hull")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least 12"),
        ("x" * 129, "at most 128"),
        ("aaaaaaaaaaaaaaaa", "easy to guess"),
        ("Password2026!!", "easy to guess"),
        ("lovelace-engine-9", "your name"),
        ("countess.ada.42", "your name"),
    ],
)
def test_a_weak_password_is_refused_with_what_to_do(password: str, why: str) -> None:
    with pytest.raises(UnfitPassword, match=why):
        check_new_password(password, email="countess@example.nhs.uk", name="Ada Lovelace")


def test_three_words_are_a_good_password() -> None:
    check_new_password("velvet thunder marmalade", email="ada@x.uk", name="Ada Lovelace")


def test_email_addresses_are_kept_in_one_way() -> None:
    assert clean_email("  Ada@Example.NHS.uk ") == "ada@example.nhs.uk"
    for wrong in ("ada", "ada@", "@x.uk", "a b@x.uk", "ada@x", "ada@x..uk"):
        with pytest.raises(UnfitEmail):
            clean_email(wrong)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.test",
        "//evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "/\t/evil.test",
        "/\n/evil.test",
        "javascript:alert(1)",
        "portal",
        " /portal",
        "",
        None,
    ],
)
def test_only_our_own_paths_are_come_back_to(elsewhere: str | None) -> None:
    assert safe_next(elsewhere) is None


def test_a_path_with_a_query_is_ours() -> None:
    assert safe_next("/portal/invoices?page=2") == "/portal/invoices?page=2"


def test_a_session_ends_when_idle_and_when_old() -> None:
    def live(*, idle: timedelta, age: timedelta) -> bool:
        return session_is_live(started_at=NOON - age, last_seen_at=NOON - idle, now=NOON)

    assert live(idle=timedelta(minutes=29, seconds=59), age=timedelta(hours=11))
    assert not live(idle=timedelta(minutes=30), age=timedelta(hours=1))
    assert not live(idle=timedelta(0), age=timedelta(hours=12))


def test_claims_become_roles_for_the_organisations_they_name() -> None:
    names = ClaimNames(roles="groups", role_names={"NHS Paygo Editors": Role.FINANCE_EDITOR})
    identity = identity_of(
        {
            "sub": "42",
            "email": "Ada@x.uk",
            "email_verified": True,
            "groups": ["NHS Paygo Editors", "auditor", "some-other-system"],
            "organisations": "rr8, RWD",
        },
        issuer="https://id.test",
        names=names,
    )
    assert identity.subject == "https://id.test|42"
    assert identity.roles == {Role.FINANCE_EDITOR, Role.AUDITOR}
    assert identity.organisations == {"RR8", "RWD"}
    assert grants_of(identity, accounts=["leeds"], sources=[]) == {
        Grant(Role.FINANCE_EDITOR, account_id="leeds"),
        Grant(Role.AUDITOR),
    }


def test_a_provider_silent_on_roles_leaves_ours() -> None:
    identity = identity_of({"sub": "42", "email": "a@x.uk"}, issuer="i", names=ClaimNames())
    assert identity.roles is None
    assert not identity.email_verified
    with pytest.raises(UnusableIdentity):
        identity_of({"sub": "42"}, issuer="i", names=ClaimNames())
