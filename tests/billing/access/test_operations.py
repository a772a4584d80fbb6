"""Signing in, passwords, sessions and roles, on the database."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access import operations, queries, session_operations
from billing.access.model import Grant, Identity, Role, UnfitPassword
from billing.access.tables import SessionRow, SignInAttemptRow, UserRow
from billing.jobs import forget_sign_ins
from metering.kit.audit import verify
from metering.kit.db import Database
from metering.kit.tables import AuditEntryRow
from tests.web import START

GOOD = "velvet thunder marmalade"
ADDRESS = "192.0.2.7"
# As the application has it: tests have a cheap one by the time they run.
HASHER = session_operations._hasher


def make_user(
    session: Session, *, email: str = "ada@x.uk", role: Role = Role.ANALYST
) -> operations.NewUser:
    return operations.create_user(
        session, now=START, email=email, name="Ada Lovelace", grants=[Grant(role)], by="cli"
    )


def try_to_sign_in(
    session: Session,
    password: str,
    *,
    email: str = "ada@x.uk",
    minutes: float = 0,
    address: str = ADDRESS,
) -> session_operations.SignInOutcome:
    return session_operations.sign_in(
        session,
        now=START + timedelta(minutes=minutes),
        email=email,
        password=password,
        remote_address=address,
    )


def identity(
    *, roles: frozenset[Role] | None = None, verified: bool = True, subject: str = "idp|1"
) -> Identity:
    return Identity(
        subject=subject,
        email="ada@x.uk",
        email_verified=verified,
        name="Ada Lovelace",
        roles=roles,
        organisations=frozenset(),
        sources=frozenset(),
    )


def test_a_new_user_signs_in_with_the_temporary_password(session: Session) -> None:
    made = make_user(session, email="Ada@X.uk")
    outcome = try_to_sign_in(session, made.temporary_password, email=" ADA@x.uk ")
    assert outcome.refusal is None
    live = queries.live_session(session, token=outcome.token, now=START)
    assert live.principal.roles == {Role.ANALYST}
    assert live.principal.must_change_password


def test_neither_password_nor_token_is_kept(session: Session) -> None:
    made = make_user(session)
    token = try_to_sign_in(session, made.temporary_password).token
    user = session.scalars(select(UserRow)).one()
    assert user.password_hash is not None
    assert user.password_hash.startswith("$argon2id$")
    assert session.scalars(select(SessionRow.token_sha256)).all() == [queries.token_hash(token)]
    assert token not in str(session.scalars(select(SessionRow.token_sha256)).all())


def test_a_wrong_password_and_an_unknown_address_are_told_alike(session: Session) -> None:
    make_user(session)
    wrong = try_to_sign_in(session, "not it").refusal
    unknown = try_to_sign_in(session, "not it", email="nobody@x.uk").refusal
    assert isinstance(wrong, session_operations.WrongCredentials)
    assert isinstance(unknown, session_operations.WrongCredentials)
    assert wrong.detail == unknown.detail


@pytest.mark.parametrize("email", ["ada@x.uk", "nobody@x.uk"])
def test_five_failures_close_an_address_for_a_while_even_to_the_right_password(
    session: Session, email: str
) -> None:
    made = make_user(session)
    for minute in range(5):
        refusal = try_to_sign_in(session, "wrong", email=email, minutes=minute).refusal
        assert isinstance(refusal, session_operations.WrongCredentials)
    refusal = try_to_sign_in(session, made.temporary_password, email=email, minutes=5).refusal
    assert isinstance(refusal, session_operations.TooManySignIns)
    assert refusal.facts["retry_after"] == 10 * 60 + 1
    later = try_to_sign_in(session, made.temporary_password, email=email, minutes=15.1).refusal
    assert (later is None) == (email == "ada@x.uk")


def test_a_success_forgets_the_failures_before_it(session: Session) -> None:
    made = make_user(session)
    for _ in range(4):
        try_to_sign_in(session, "wrong")
    assert try_to_sign_in(session, made.temporary_password, minutes=1).refusal is None
    for _ in range(4):
        try_to_sign_in(session, "wrong", minutes=2)
    assert try_to_sign_in(session, made.temporary_password, minutes=3).refusal is None


def test_one_network_address_cannot_try_everybody(session: Session) -> None:
    made = make_user(session)
    session.add_all(
        SignInAttemptRow(
            id=f"try_{number}",
            email=f"{number}@x.uk",
            at=START - timedelta(minutes=1),
            succeeded=False,
            remote_address=ADDRESS,
        )
        for number in range(100)
    )
    session.flush()
    refusal = try_to_sign_in(session, made.temporary_password).refusal
    assert isinstance(refusal, session_operations.TooManySignIns)
    elsewhere = try_to_sign_in(session, made.temporary_password, address="192.0.2.8")
    assert elsewhere.refusal is None


def test_a_temporary_password_expires(session: Session) -> None:
    made = make_user(session)
    refusal = try_to_sign_in(session, made.temporary_password, minutes=7 * 24 * 60 + 1).refusal
    assert isinstance(refusal, session_operations.TemporaryPasswordExpired)


def test_changing_the_password_ends_every_other_session(session: Session) -> None:
    made = make_user(session)
    elsewhere = try_to_sign_in(session, made.temporary_password).token
    kept = session_operations.change_password(
        session, now=START, user_id=made.id, current=made.temporary_password, new=GOOD
    )
    assert not queries.live_session(session, token=kept, now=START).principal.must_change_password
    with pytest.raises(queries.SessionEnded):
        queries.live_session(session, token=elsewhere, now=START)
    assert try_to_sign_in(session, made.temporary_password).refusal is not None
    assert try_to_sign_in(session, GOOD).refusal is None


def test_a_password_is_kept_as_dearly_as_owasp_asks() -> None:
    assert HASHER.memory_cost >= 19 * 1024
    assert HASHER.time_cost >= 2


def test_a_password_change_needs_the_current_and_a_fit_new_one(session: Session) -> None:
    made = make_user(session)
    with pytest.raises(session_operations.WrongCredentials):
        session_operations.change_password(
            session, now=START, user_id=made.id, current="wrong", new=GOOD
        )
    for unfit in ("short", made.temporary_password):
        with pytest.raises(UnfitPassword):
            session_operations.change_password(
                session, now=START, user_id=made.id, current=made.temporary_password, new=unfit
            )


def test_a_reset_gives_a_new_temporary_password_and_opens_a_closed_address(
    session: Session,
) -> None:
    made = make_user(session)
    for _ in range(5):
        try_to_sign_in(session, "wrong")
    reset = operations.reset_password(session, now=START, user_id=made.id, by="cli")
    assert try_to_sign_in(session, made.temporary_password).refusal is not None
    assert try_to_sign_in(session, reset.temporary_password).refusal is None


def test_an_idle_session_ends_and_one_in_use_goes_on(session: Session) -> None:
    made = make_user(session)
    token = try_to_sign_in(session, made.temporary_password).token
    almost = START + timedelta(minutes=29)
    session_operations.touch_session(session, now=almost, token=token)
    assert queries.live_session(session, token=token, now=almost + timedelta(minutes=29))
    with pytest.raises(queries.SessionEnded):
        queries.live_session(session, token=token, now=almost + timedelta(minutes=30))


def test_signing_out_ends_the_session_for_good(session: Session) -> None:
    made = make_user(session)
    token = try_to_sign_in(session, made.temporary_password).token
    session_operations.end_session(session, now=START, token=token)
    session_operations.touch_session(session, now=START + timedelta(minutes=1), token=token)
    with pytest.raises(queries.SessionEnded):
        queries.live_session(session, token=token, now=START)


def test_new_roles_end_the_sessions_and_the_same_roles_do_not(session: Session) -> None:
    made = make_user(session)
    token = try_to_sign_in(session, made.temporary_password).token
    same = [Grant(Role.ANALYST)]
    operations.set_grants(session, now=START, user_id=made.id, grants=same, by="cli")
    assert queries.live_session(session, token=token, now=START)
    other = [Grant(Role.APPROVER), Grant(Role.AUDITOR)]
    make_user(session, email="root@x.uk", role=Role.ADMINISTRATOR)
    operations.set_grants(session, now=START, user_id=made.id, grants=other, by="cli")
    with pytest.raises(queries.SessionEnded):
        queries.live_session(session, token=token, now=START)
    assert queries.user(session, user_id=made.id).principal.grants == set(other)


def test_nobody_changes_their_own_access_and_an_administrator_stays(session: Session) -> None:
    root = make_user(session, email="root@x.uk", role=Role.ADMINISTRATOR)
    with pytest.raises(operations.OwnRoles):
        operations.set_grants(session, now=START, user_id=root.id, grants=[], by=root.id)
    with pytest.raises(operations.OwnRoles):
        operations.set_disabled(session, now=START, user_id=root.id, disabled=True, by=root.id)
    with pytest.raises(operations.LastAdministrator):
        operations.set_grants(session, now=START, user_id=root.id, grants=[], by="cli")
    with pytest.raises(operations.LastAdministrator):
        operations.set_disabled(session, now=START, user_id=root.id, disabled=True, by="cli")


def test_a_disabled_user_is_out_at_once_and_cannot_come_back(session: Session) -> None:
    make_user(session, email="root@x.uk", role=Role.ADMINISTRATOR)
    made = make_user(session)
    token = try_to_sign_in(session, made.temporary_password).token
    operations.set_disabled(session, now=START, user_id=made.id, disabled=True, by="cli")
    with pytest.raises(queries.SessionEnded):
        queries.live_session(session, token=token, now=START)
    assert try_to_sign_in(session, made.temporary_password).refusal is not None
    operations.set_disabled(session, now=START, user_id=made.id, disabled=False, by="cli")
    assert try_to_sign_in(session, made.temporary_password).refusal is None


def test_an_email_address_has_one_user(session: Session) -> None:
    make_user(session)
    with pytest.raises(operations.EmailTaken):
        make_user(session, email="ADA@x.uk")


def test_what_was_done_is_audited_without_a_secret(session: Session) -> None:
    made = make_user(session)
    session_operations.change_password(
        session, now=START, user_id=made.id, current=made.temporary_password, new=GOOD
    )
    entries = session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.position)).all()
    assert [entry.action for entry in entries] == ["create user", "change password"]
    assert verify(entries) is None
    told = str([entry.facts for entry in entries])
    assert made.temporary_password not in told
    assert GOOD not in told


def test_an_identity_becomes_a_user_whose_roles_follow_the_provider(session: Session) -> None:
    token = operations.sign_in_by_identity(
        session, now=START, identity=identity(roles=frozenset({Role.ANALYST}))
    )
    first = queries.live_session(session, token=token, now=START).principal
    assert first.roles == {Role.ANALYST}
    assert not first.has_password
    again = operations.sign_in_by_identity(
        session, now=START, identity=identity(roles=frozenset({Role.AUDITOR}))
    )
    second = queries.live_session(session, token=again, now=START).principal
    assert (second.id, second.roles) == (first.id, {Role.AUDITOR})
    with pytest.raises(queries.SessionEnded):
        queries.live_session(session, token=token, now=START)


def test_an_identity_without_a_role_stays_outside(session: Session) -> None:
    with pytest.raises(operations.NoRoles):
        operations.sign_in_by_identity(session, now=START, identity=identity(roles=frozenset()))


def test_an_unproved_address_does_not_take_over_a_user(session: Session) -> None:
    made = make_user(session)
    with pytest.raises(operations.EmailNotVerified):
        operations.sign_in_by_identity(session, now=START, identity=identity(verified=False))
    token = operations.sign_in_by_identity(session, now=START, identity=identity())
    assert queries.live_session(session, token=token, now=START).principal.id == made.id
    with pytest.raises(operations.EmailNotVerified):
        operations.sign_in_by_identity(
            session, now=START, identity=identity(subject="idp|somebody-else")
        )


def test_users_are_found_by_part_of_name_or_address(session: Session) -> None:
    make_user(session)
    make_user(session, email="root_1@x.uk")
    found, total = queries.users(session, search="ROOT_")
    assert ([user.principal.email for user in found], total) == (["root_1@x.uk"], 1)
    assert queries.users(session, search="%")[1] == 0


def test_old_tries_and_sessions_are_forgotten_and_new_ones_are_not(session: Session) -> None:
    made = make_user(session)
    try_to_sign_in(session, made.temporary_password)
    new = try_to_sign_in(session, made.temporary_password, minutes=60 * 24)
    gone = session_operations.forget_old(session, before=START + timedelta(hours=12))
    assert gone == {"tries": 1, "sessions": 1}
    assert session.scalars(select(SessionRow.token_sha256)).all() == [queries.token_hash(new.token)]


def test_the_job_keeps_what_is_younger_than_ninety_days(database: Database) -> None:
    with database.transaction() as session:
        made = make_user(session)
        try_to_sign_in(session, made.temporary_password)
    assert forget_sign_ins(database, now=START + timedelta(days=90)) == {"tries": 0, "sessions": 0}
    assert forget_sign_ins(database, now=START + timedelta(days=91)) == {"tries": 1, "sessions": 1}
