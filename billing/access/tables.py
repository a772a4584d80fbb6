"""Who may sign in, as what, and their sessions."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class UserRow(Base):
    """A person. `password_hash` is null for those who sign in by OpenID Connect.

    Locked out or not follows from `sign_in_attempts`, so it is no column.
    """

    __tablename__ = "users"
    __table_args__ = ({"info": {"citus": "local"}},)

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str | None]
    must_change_password: Mapped[bool] = mapped_column(server_default="false")
    password_changed_at: Mapped[datetime | None]
    oidc_subject: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class UserRoleRow(Base):
    """A role, everywhere or (finance roles) for one account or (service owner) for one source."""

    __tablename__ = "user_roles"
    __table_args__ = (
        UniqueConstraint(
            "user_id", "role", "account_id", "source_id", postgresql_nulls_not_distinct=True
        ),
        CheckConstraint(
            "role IN ('service-owner', 'finance-viewer', 'finance-editor', 'analyst', 'approver',"
            " 'auditor', 'administrator')",
            name="role",
        ),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    role: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    source_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("sources.id"))
    granted_at: Mapped[datetime]
    granted_by: Mapped[str]


class SignInAttemptRow(Base):
    """One try to sign in, good or bad, by the address that was typed."""

    __tablename__ = "sign_in_attempts"
    __table_args__ = (
        Index("ix_sign_in_attempts_email_at", "email", "at"),
        Index("ix_sign_in_attempts_remote_address_at", "remote_address", "at"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    at: Mapped[datetime]
    succeeded: Mapped[bool]
    remote_address: Mapped[str | None]


class SessionRow(Base):
    """A signed-in browser; only the SHA-256 of its token is kept."""

    __tablename__ = "sessions"
    __table_args__ = ({"info": {"citus": "local"}},)

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    started_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
