"""Running commands as a shell would."""

from django.core.management import CommandError, call_command


def exit_code(name: str, *arguments: str) -> int:
    """A command's exit code: what `sys.exit` was called with, or a CommandError's."""
    try:
        call_command(name, *arguments)
    except SystemExit as exit_:
        return int(exit_.code or 0)
    except CommandError as error:
        return error.returncode
    return 0
