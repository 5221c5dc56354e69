"""Claims about the console program, with commands made up for the tests."""

import subprocess
import sys
import types

import pytest

from jaxseg.cli import main
from jaxseg.errors import UserError


@pytest.fixture
def command(monkeypatch):
    """Return a function that registers a command by what it runs, and it alone."""
    monkeypatch.setattr(main, "COMMANDS", ())

    def register(name, run, takes_config=False):
        module = types.ModuleType(f"jaxseg.cli.{name}")

        def add_parser(subparsers):
            parser = subparsers.add_parser(name, help="made up")
            parser.add_argument("--run", default="here")
            if takes_config:
                parser.add_argument("--config")
            return parser

        module.add_parser, module.run = add_parser, run
        monkeypatch.setitem(sys.modules, f"jaxseg.cli.{name}", module)
        monkeypatch.setattr(main, "COMMANDS", (*main.COMMANDS, name))

    return register


def _raise(error):
    def run(args, rest):
        raise error

    return run


def test_a_user_error_is_one_line_and_2(command, capsys):
    command("try", _raise(UserError("found a\n  b; expected c; do d")))
    assert main.main(["try"]) == 2
    assert capsys.readouterr().err == "jaxseg: error: found a b; expected c; do d\n"


def test_an_interrupt_says_how_to_go_on_and_130(command, capsys):
    command("try", _raise(KeyboardInterrupt()))
    assert main.main(["try"]) == 130
    assert "run the same command again to go on" in capsys.readouterr().err


def test_a_fault_keeps_its_traceback(command):
    command("try", _raise(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main.main(["try"])


def test_arguments_and_the_exit_code_pass_through(command):
    seen = []
    command("try", lambda args, rest: seen.append((args.run, rest)))
    command("bad", lambda args, rest: 1)
    assert main.main(["try", "--run=there"]) == 0
    assert main.main(["bad"]) == 1
    assert seen == [("there", [])]


def test_overrides_arrive_in_one_form(command):
    seen = []
    command("try", lambda args, rest: seen.append((args.config, args.run, rest)), True)
    line = "try --config a.py:b --config.x.y 1 --run r --config.z=2 --noconfig.f"
    assert main.main(line.split()) == 0
    want = ["--config.x.y=1", "--config.z=2", "--noconfig.f"]
    assert seen == [("a.py:b", "r", want)]


def test_a_flag_does_not_eat_the_next_option():
    argv = ["--config.flag", "--run", "r", "--config.x", "-1"]
    assert main.split_overrides(argv) == (
        ["--config.flag", "--config.x=-1"],
        ["--run", "r"],
    )


@pytest.mark.parametrize(
    "argv, said",
    [
        (["try", "--nope=1"], "--nope=1"),
        (["try", "--ru=x"], "--ru=x"),
        (["try", "--config=x"], "--config=x"),
        (["try", "--config.x=1"], "takes no configuration: --config.x=1"),
        (["nope"], "invalid choice: 'nope'"),
        ([], "command"),
    ],
)
def test_an_unknown_argument_is_an_error_and_2(command, capsys, argv, said):
    command("try", _raise(AssertionError("ran")))
    with pytest.raises(SystemExit) as error:
        main.main(argv)
    assert error.value.code == 2
    assert said in capsys.readouterr().err


def test_every_command_has_a_parser_and_a_line_of_help(capsys):
    with pytest.raises(SystemExit):
        main.main(["--help"])
    text = capsys.readouterr().out
    for name in main.COMMANDS:
        (line,) = [x for x in text.splitlines() if x.split()[:1] == [name]]
        assert len(line.split()) > 1, f"{name} has no help"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['jaxseg', '--help']\n"
        "from jaxseg.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'numpy', 'cv2', 'flax', 'absl', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "usage: jaxseg" in done.stdout
    assert done.stderr.strip() == "[]"


def test_a_reader_that_goes_away_is_no_traceback():
    code = (
        "import sys, types\n"
        "from jaxseg.cli import main\n"
        "module = types.ModuleType('jaxseg.cli.try')\n"
        "module.add_parser = lambda s: s.add_parser('try')\n"
        "module.run = lambda a, r: [print('x' * 1000) for _ in range(10000)] and 0\n"
        "sys.modules['jaxseg.cli.try'] = module\n"
        "main.COMMANDS = ('try',)\n"
        "sys.exit(main.main(['try']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
