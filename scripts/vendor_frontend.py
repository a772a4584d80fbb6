"""Vendor nhsuk-frontend: `npm pack nhsuk-frontend@10.6.1`, unpack, then run this on `package/`.

Leaves out what paygo must not have: fonts from another host (and the name of
the font, which is licensed to the NHS alone), the NHS logo and its icons.
"""

import re
import shutil
import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "billing" / "static" / "vendor"


def main(package: Path) -> None:
    """Copy the compiled stylesheet, script and icons of the unpacked `package`."""
    built = package / "dist" / "nhsuk"
    version = re.search(r'"version": "([^"]+)"', (package / "package.json").read_text())
    if version is None:
        raise SystemExit(f"{package} is not an npm package")
    css = (built / "nhsuk-frontend.min.css").read_text()
    css = re.sub(r"@font-face\{[^}]*\}", "", css)
    css = css.replace("Frutiger W01,", "").replace("/assets/images/", "images/")
    css = re.sub(r"/\*# sourceMappingURL=.*?\*/", "", css)
    outside = re.findall(r"url\((?!images/|\"?data:)[^)]*\)", css)
    if outside:
        raise SystemExit(f"the stylesheet still asks others for {outside}")
    script = (built / "nhsuk-frontend.min.js").read_text()
    script = re.sub(r"//# sourceMappingURL=.*", "", script)
    for old in TARGET.glob("nhsuk-frontend-*"):
        old.unlink()
    (TARGET / f"nhsuk-frontend-{version[1]}.min.css").write_text(css)
    (TARGET / f"nhsuk-frontend-{version[1]}.min.js").write_text(script)
    for name in sorted(set(re.findall(r"url\(images/([^)]+)\)", css))):
        shutil.copyfile(built / "assets" / "images" / name, TARGET / "images" / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
