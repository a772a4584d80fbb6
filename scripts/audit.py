"""Look for known faults in what paygo depends on, and say plainly when nobody could look.

`pip-audit` calls a package that its index knows no advisories for "skipped", and with every
package skipped it still ends well: behind a mirror without advisories it has looked at nothing.
Here that is not a pass. The substitute is then listed: the pins that have a newer release, whose
notes are to be read.

Ends with 0 where every pin was audited and none has a known fault, 1 where one has, and 3 where
some pin could not be audited.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
SOUND, FAULTY, NOT_AUDITED = 0, 1, 3


class Verdict(NamedTuple):
    """What to say, and the status to end with."""

    lines: list[str]
    status: int


def judge(found: Iterable[Mapping[str, Any]] | None) -> Verdict:
    """Return what pip-audit's report comes to.

    Args:
        found: its `dependencies`; None where it gave no report.
    """
    if found is None:
        return Verdict(["Nothing was audited: no advisory database can be reached."], NOT_AUDITED)
    known = list(found)
    faults = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in "
        f"{', '.join(fault['fix_versions']) or 'no release yet'}"
        for one in known
        for fault in one.get("vulns", ())
    ]
    skipped = [one["name"] for one in known if "skip_reason" in one]
    said = [f"{len(known) - len(skipped)} of {len(known)} pins were audited."]
    if skipped:
        names = ", ".join(skipped[:5]) + (" and others" if len(skipped) > 5 else "")
        said.append(f"The package index here knows no advisories of {names}.")
    if faults:
        return Verdict([*said, *faults], FAULTY)
    if skipped or not known:
        return Verdict(said, NOT_AUDITED)
    return Verdict([*said, "None has a known fault."], SOUND)


def newer(outdated: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the substitute: what has a newer release, for people to read its notes."""
    listed = [f"  {one['name']} {one['version']} → {one['latest_version']}" for one in outdated]
    if not listed:
        return ["Instead: every package here is the newest release that the index has."]
    return ["Instead, read the release notes of what is newer in the index:", *listed]


def _report() -> list[dict[str, Any]] | None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS)),
            *("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"),
        ],
        capture_output=True,
        check=False,
    )
    try:
        return list(json.loads(ran.stdout)["dependencies"])
    except ValueError:
        return None


def _outdated() -> list[dict[str, str]] | None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "list", "--outdated", "--format", "json"),
            "--disable-pip-version-check",
        ],
        capture_output=True,
        check=False,
    )
    try:
        return list(json.loads(ran.stdout))
    except ValueError:
        return None


def main() -> int:
    """Audit, print, and return the status to end with."""
    lines, status = judge(_report())
    print("\n".join(lines))
    if status == NOT_AUDITED:
        outdated = _outdated()
        print(
            "\n".join(
                newer(outdated)
                if outdated is not None
                else ["No package index can be reached either: audit again where there is one."]
            )
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
