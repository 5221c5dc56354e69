"""Configuration files: Python files with `get_config(arg)`, and overrides of fields.

`configs/policy.py:synthetic` names a file and the argument of its `get_config`.
`--config.policy.eta=0.06` changes one field; fields are typed and cannot be added.
"""

import contextlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

import jaxseg
from jaxseg.errors import UserError

_PACKAGE = Path(jaxseg.__file__).parent


def load_config(
    path_with_arg: str, overrides: Sequence[str] = (), packaged: bool = False
) -> ml_collections.ConfigDict:
    """Load a configuration file and apply overrides; the result is locked.

    Args:
      path_with_arg: "configs/x.py" or "configs/x.py:arg", looked for from the working
        directory, else among the files that come with jaxseg.
      overrides: "--config.group.field=value", or the name and the value as two strings;
        the last word on a field counts.
      packaged: look among the files that come with jaxseg alone.

    Raises:
      UserError: no such file or field, a bad argument, or a value of another type.
    """
    path, _, arg = path_with_arg.partition(":")
    file = find_config(path, packaged)
    config = _get_config(file, arg, packaged)
    argv = ["jaxseg", *_last_of_each(join_pairs(overrides))]
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict(
            "config", config, flag_values=values, sys_argv=argv
        )
        unknown = values(argv)[1:]
    except (AttributeError, KeyError) as error:
        raise UserError(_unknown_field(error, path_with_arg, argv[1:])) from None
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(_bad_value(error)) from None
    if unknown:
        raise UserError(
            f"found {' '.join(unknown)}; expected --config.field=value; check spaces"
        )
    return config


def find_config(path: str, packaged: bool = False) -> Path:
    """Find a configuration file in the working directory or among jaxseg's own.

    With `packaged`, it is looked for among jaxseg's own alone.

    Raises:
      UserError: there is none; lists the ones that exist.
    """
    candidates = [] if packaged else [Path(path)]
    if not Path(path).is_absolute():
        relative = Path(path.removeprefix("configs/"))
        candidates += [root / relative for root in _roots(packaged)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"there is no configuration file {path}; expected one of "
        f"{', '.join(list_configs(packaged)) or '(none found)'}; check --config"
    )


def list_configs(packaged: bool = False) -> list[str]:
    """Name the configuration files that `load_config` finds."""
    names = {
        file.relative_to(root).as_posix()
        for root in _roots(packaged)
        for file in root.glob("*.py")
        if _defines_config(file)
    }
    return [f"configs/{name}" for name in sorted(names)]


def to_dict(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Turn a configuration into dicts, lists, strings, numbers, booleans and None."""
    return _plain(config.to_dict())


def join_pairs(arguments: Sequence[str]) -> list[str]:
    """Turn "--config.x value" pairs into "--config.x=value"; leave the rest alone."""
    joined: list[str] = []
    for argument in arguments:
        previous = joined[-1] if joined else ""
        waits = previous.startswith("--config") and "=" not in previous
        if waits and not argument.startswith("--"):
            joined[-1] = f"{previous}={argument}"
        else:
            joined.append(argument)
    return joined


def _last_of_each(arguments: Sequence[str]) -> list[str]:
    """Drop what a later argument says again; absl would join tuples said twice."""
    last = {argument.partition("=")[0]: argument for argument in arguments}
    return list(last.values())


def _roots(packaged: bool) -> list[Path]:
    """Folders of configuration files, in the order in which they are searched."""
    roots = [] if packaged else [Path.cwd() / "configs"]
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        roots.append(_PACKAGE.parent / "configs")
    roots.append(_PACKAGE / "_configs")
    return [root for root in dict.fromkeys(roots) if root.is_dir()]


def _defines_config(file: Path) -> bool:
    return "def get_config(" in file.read_text(encoding="utf-8")


def _get_config(file: Path, arg: str, packaged: bool) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location("jaxseg_config", file)
    if spec is None:
        raise UserError(f"{file} is not a Python file; expected a .py; check --config")
    module = importlib.util.module_from_spec(spec)
    # Absolute: Python remembers what a relative folder once meant.
    with _importable_configs([file.absolute().parent, *_roots(packaged)]):
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(
                f"{file} has no get_config; expected one of "
                f"{', '.join(list_configs(packaged))}; check --config"
            )
        try:
            return module.get_config(*([arg] if arg else []))
        except ValueError as error:
            # What a file says about its argument; files cannot import our error.
            raise UserError(f"{file}: {_one_line(error)}") from error


@contextlib.contextmanager
def _importable_configs(folders: Sequence[Path]) -> Iterator[None]:
    """Let files say `from configs import common`, from the first folder that has it."""
    mine = [n for n in sys.modules if n == "configs" or n.startswith("configs.")]
    before = {name: sys.modules.pop(name) for name in mine}
    package = types.ModuleType("configs")
    package.__path__ = [str(folder) for folder in folders]
    sys.modules["configs"] = package
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] == "configs"]:
            del sys.modules[name]
        sys.modules.update(before)


def _unknown_field(error: Exception, source: str, overrides: Sequence[str]) -> str:
    # The library names the last part of the path alone, in quotes within quotes.
    text = str(error).replace("\\", "")
    hint = re.search(r'Did you mean "\w+" instead of "\w+"\?', text)
    parts = re.findall(r"\w+", text.rpartition("lookup: ")[2])
    fields = [override.lstrip("-").partition("=")[0] for override in overrides]
    found = [field for field in fields if parts[0] in field.split(".")]
    return (
        f"{source} has no field {' or '.join(found) or parts[0]}; expected one of its "
        f"own; {hint.group() if hint else 'look into the file for their names'}"
    )


def _bad_value(error: Exception) -> str:
    text = _one_line(error)
    if "is not supported for overriding" in text:
        text = text.partition("Currently supported")[0]
    return f"{text.rstrip('. ')}; expected a value of the field's type; change it"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):  # a NumPy scalar
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UserError(
        f"found {value!r} in the configuration; expected numbers, strings, booleans, "
        "None, and lists or dicts of them; change the file"
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
