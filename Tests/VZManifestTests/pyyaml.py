#!/usr/bin/python3
"""Reads manifests with PyYAML, as YAML 1.2's core schema has it, and says what they are.

    pyyaml.py schemas DIRECTORY FILE...   for each file a line: a verdict v or i of each document by its kind's JSON Schema,
                                          and ! when PyYAML cannot read on
    pyyaml.py structure FILE              for each line of FILE, a text in hexadecimal, a line: its documents, or ! when
                                          PyYAML does not read it
"""
import json
import re
import sys

import jsonschema
import yaml


class CoreLoader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2 (10.3.2) in place of those of 1.1."""

    yaml_implicit_resolvers = {}

    def compose_scalar_node(self, anchor):
        # The tag ! makes a string of any scalar (6.9.1).
        event = self.peek_event()
        if event.tag == "!":
            event.tag = "tag:yaml.org,2002:str"
        return super().compose_scalar_node(anchor)


FORMS = [
    ("null", r"(|~|null|Null|NULL)$", ["~", "n", "N", ""]),
    ("bool", r"(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    ("float", r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$", list("-+.0123456789")),
]
for name, form, first in FORMS:
    CoreLoader.add_implicit_resolver("tag:yaml.org,2002:" + name, re.compile(form), first)


def construct_int(loader, node):
    text = loader.construct_scalar(node)
    for prefix, base in ("0o", 8), ("0x", 16):
        if text.startswith(prefix):
            return int(text[2:], base)
    return int(text)


def construct_float(loader, node):
    text = loader.construct_scalar(node).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


CoreLoader.add_constructor("tag:yaml.org,2002:int", construct_int)
CoreLoader.add_constructor("tag:yaml.org,2002:float", construct_float)


def as_json(value):
    """The value with the keys that JSON has."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else json.dumps(key): as_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    return value


def verdicts(directory, path):
    validators = {}
    for kind in "Container", "Profile", "Defaults":
        with open("%s/%s.schema.json" % (directory, kind.lower())) as file:
            schema = json.load(file)
        jsonschema.Draft7Validator.check_schema(schema)
        validators[kind] = jsonschema.Draft7Validator(schema)
    result = ""
    try:
        with open(path, "rb") as file:
            for document in yaml.load_all(file.read(), CoreLoader):
                if document is None:
                    continue
                kind = document.get("kind") if isinstance(document, dict) else None
                validator = validators.get(kind if isinstance(kind, str) else None, validators["Container"])
                result += "v" if validator.is_valid(as_json(document)) else "i"
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        result += "!"
    return result


LIMIT = 2**63 - 1


def shown(value):
    if value is None:
        return "~"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int):
        return "i%d" % max(-LIMIT, min(LIMIT, value))
    if isinstance(value, float):
        return "d"
    if isinstance(value, str):
        return "s" + value.encode().hex()
    if isinstance(value, list):
        return "[" + ",".join(map(shown, value)) + "]"
    return "{" + ",".join(shown(key) + ":" + shown(one) for key, one in value) + "}"


class PairLoader(CoreLoader):
    """Keeps a mapping as it stands: in its order, with every repetition."""


def construct_pairs(loader, node):
    return tuple((loader.construct_object(key, deep=True), loader.construct_object(value, deep=True)) for key, value in node.value)


PairLoader.add_constructor("tag:yaml.org,2002:map", construct_pairs)


def structure(line):
    try:
        return "|".join(shown(document) for document in yaml.load_all(bytes.fromhex(line), PairLoader))
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return "!"


if sys.argv[1] == "schemas":
    for path in sys.argv[3:]:
        print(path, verdicts(sys.argv[2], path))
else:
    with open(sys.argv[2]) as lines:
        for line in lines:
            print(structure(line.strip()))
