"""Lint docs/openapi.json with Redocly and Spectral: `make lint-openapi`.

A finding is an error, whatever its severity, unless docs/openapi-exceptions.yaml has its rule with
a reason; so is an exception that no longer applies.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
DOCUMENT, EXCEPTIONS = DOCS / "openapi.json", DOCS / "openapi-exceptions.yaml"
SHOWN = 5
"""How many findings of a rule are printed."""


class Finding(NamedTuple):
    """A violation of a rule, and where it is in the document."""

    rule: str
    message: str
    place: str


def main() -> int:
    """Print what is wrong; return the exit code."""
    exceptions: dict[str, str] = yaml.safe_load(EXCEPTIONS.read_text()) or {}
    findings = [*redocly(), *spectral()]
    failed = [each for each in findings if each.rule not in exceptions]
    for rule in sorted({each.rule for each in failed}):
        found = [each for each in failed if each.rule == rule]
        for each in found[:SHOWN]:
            print(f"{rule}: {each.message} {each.place}")
        if len(found) > SHOWN:
            print(f"{rule}: {len(found) - SHOWN} more")
    unused = exceptions.keys() - {each.rule for each in findings}
    for rule in sorted(unused):
        print(f"{rule}: the exception no longer applies: remove it from {EXCEPTIONS.name}")
    print(
        f"{DOCUMENT.name}: {len(failed)} errors, {len(findings) - len(failed)} findings under"
        f" {len(exceptions)} exceptions"
    )
    return 1 if failed or unused else 0


def redocly() -> list[Finding]:
    """Return the findings of Redocly's strict rules."""
    report = ask("redocly", "lint", DOCUMENT, "--extends=recommended-strict", "--format=json")
    return [
        Finding(each["ruleId"], each["message"], each["location"][0].get("pointer", ""))
        for each in report["problems"]
    ]


def spectral() -> list[Finding]:
    """Return the findings of the rule sets that rules.yaml names."""
    rules = HERE / "rules.yaml"
    report = ask("spectral", "lint", DOCUMENT, f"--ruleset={rules}", "--format=json", "--quiet")
    return [
        Finding(each["code"], each["message"], "#/" + "/".join(map(str, each["path"])))
        for each in report
    ]


def ask(program: str, *arguments: str | Path) -> Any:
    """Return the report of a linter. Exits with what it says if there is none."""
    done = subprocess.run(
        [HERE / "node_modules" / ".bin" / program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=HERE,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        sys.exit(f"{program} has no report:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
