"""An audit that looked at nothing is not a pass."""

from typing import Any

from scripts.audit import FAULTY, NOT_AUDITED, SOUND, judge, newer

CLEAN: dict[str, Any] = {"name": "flask", "version": "3.1.0", "vulns": []}
FAULT: dict[str, Any] = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"]}],
}
SKIPPED: dict[str, Any] = {"name": "lxml", "skip_reason": "Dependency not found on PyPI"}


def test_only_a_whole_audit_without_a_fault_passes() -> None:
    assert judge([CLEAN]).status == SOUND
    assert judge([CLEAN, FAULT]) == (
        ["2 of 2 pins were audited.", "jinja2 3.1.0: PYSEC-1, mended in 3.1.6"],
        FAULTY,
    )
    assert judge([CLEAN, SKIPPED]) == (
        ["1 of 2 pins were audited.", "The package index here knows no advisories of lxml."],
        NOT_AUDITED,
    )
    assert judge([SKIPPED, FAULT]).status == FAULTY
    assert judge([]).status == NOT_AUDITED
    assert judge(None).status == NOT_AUDITED


def test_the_substitute_names_what_is_newer() -> None:
    outdated = [{"name": "flask", "version": "3.1.0", "latest_version": "3.1.1"}]
    assert newer(outdated)[1:] == ["  flask 3.1.0 → 3.1.1"]
    assert "newest release" in newer([])[0]
