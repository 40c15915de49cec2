"""The official JavaScript client, where Node and a registry of its packages are there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent / "javascript"
#: Where the packages stay, so that they are fetched once.
INSTALLED = Path(os.environ.get("COMPAT_NODE", HERE.parents[2] / ".test" / "javascript"))


@pytest.fixture(scope="module")
def packages():
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("Node is not installed: the JavaScript client was not checked")
    major = int(subprocess.check_output(["node", "--version"], text=True)[1:].split(".")[0])
    if major < 20:
        pytest.skip(f"Node {major} is too old for the JavaScript client, which was not checked")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "check.mjs"):
        shutil.copy(HERE / name, INSTALLED / name)
    flags = ["--omit=optional", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"]
    done = subprocess.run(
        ["npm", "install", *flags], cwd=INSTALLED, capture_output=True, text=True, timeout=300
    )
    if done.returncode != 0:
        pytest.skip(f"the JavaScript client was not installed: {done.stderr.strip()[-300:]}")
    return INSTALLED


def test_official_javascript_client(packages, server):
    done = subprocess.run(
        ["node", "check.mjs", server.host, str(server.port)],
        cwd=packages,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "all held" in done.stdout, done.stdout + done.stderr
