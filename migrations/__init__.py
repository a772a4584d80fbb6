"""Alembic migrations, numbered; `HEAD` names the last one."""
