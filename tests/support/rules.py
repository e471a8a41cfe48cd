"""The chart's rules, read once."""

from pathlib import Path

import yaml

from support.promql import EXPORTED, Series, check

RULES = Path(__file__).parents[2] / "charts/fedcore/files/rules/fedcore.yaml"
ALL = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
RECORDS = {rule["record"]: rule for rule in ALL if "record" in rule}
ALERTS = {rule["alert"]: rule for rule in ALL if "alert" in rule}
SERIES = {**EXPORTED, **{name: Series(dict.fromkeys(check(rule["expr"]).labels, ())) for name, rule in RECORDS.items()}}
"""All that can be asked for where the rules are loaded."""
