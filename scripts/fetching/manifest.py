"""The sizes and SHA-256 sums of all files that are fetched, and their installation."""
import hashlib
import json
import os
import pathlib

from .packages import FetchError


class Manifest:
    def __init__(self, root):
        self.root = root
        self.files = json.loads(pathlib.Path(__file__).with_name("manifest.json").read_text())

    def of(self, folder):
        return {path: facts for path, facts in self.files.items() if path.startswith(folder + "/")}

    def holds(self, folder):
        """Whether every file of the folder is in the checkout, whole."""
        return all(matches(self.root / path, facts) for path, facts in self.of(folder).items())

    def install(self, built, folder):
        """Checks every file in `built`, then renames all of them into the checkout."""
        expected = self.of(folder)
        for path, facts in expected.items():
            file = built / pathlib.Path(path).name
            if not matches(file, facts):
                found = f"{file.stat().st_size} bytes" if file.exists() else "nothing"
                raise FetchError(
                    65, f"{path} came out as {found} with another SHA-256 than the manifest's "
                        f"({facts['bytes']} bytes). The package has changed: do not use it.")
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        for path in expected:
            os.replace(built / pathlib.Path(path).name, self.root / path)


def matches(file, facts):
    if not file.is_file() or file.stat().st_size != facts["bytes"]:
        return False
    digest = hashlib.sha256()
    with open(file, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == facts["sha256"]
