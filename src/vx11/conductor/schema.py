"""The JSON Schema of matrix files, for editors; `vx11 matrix validate` checks more than it can say."""

from typing import Any

from vx11.conductor.actions import VERBS, Params
from vx11.conductor.matrix import BASE_ASSERTS, Document

Schema = dict[str, Any]
_DURATION = {"type": ["number", "string"], "description": "seconds, or text with a unit, such as 30s or 1m30s"}
_SIZE = {"type": ["integer", "string"], "description": "bytes, or text with a unit, such as 256MB"}


def of_matrix() -> Schema:
    """The schema of a file with `test_matrix`."""
    schema = Document.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "VX11 test matrix"
    parts = schema["$defs"]
    entry = parts["CaseEntry"]["properties"]
    entry["actions"]["items"] = {"anyOf": [_action(verb) for verb in VERBS]}
    entry["asserts"]["items"] = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
        "additionalProperties": {"type": ["boolean", "number", "string"]},
    }
    entry["timeout"] = _DURATION
    parts["Body"]["properties"]["base_asserts"]["items"] = {"enum": list(BASE_ASSERTS)}
    return schema


def _action(verb: str) -> Schema:
    """One form of an action: the verb, and what may stand beside it."""
    beside = {
        "params": _params(),
        "force": {"type": "boolean"},
        "steps": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "type": "object",
        "required": [verb],
        "properties": {verb: _argument(verb), **{key: beside[key] for key in sorted(VERBS[verb].keys)}},
        "additionalProperties": False,
    }


def _argument(verb: str) -> Schema:
    if verb == "wait":
        return _DURATION
    if verb == "open_window":
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    schema = VERBS[verb].argument.json_schema()
    return _with_units(schema)


def _params() -> Schema:
    schema = Params.model_json_schema()
    schema["properties"]["resources"] = _with_units(schema.pop("$defs")["Resources"])
    schema["properties"]["ttl"] = _DURATION
    return schema


def _with_units(schema: Schema) -> Schema:
    """Sizes may be text."""
    if "memory" in schema.get("properties", {}):
        schema["properties"]["memory"] = _SIZE
    return schema
