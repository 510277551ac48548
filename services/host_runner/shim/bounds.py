"""What the script may not pass, and how a child becomes the script."""

# ruff: noqa: SLF001 # `_exit` is the public name
import _signal as signals  # type: ignore[import-not-found] # no stubs; the same functions as in `signal`
import posix

from services.host_runner.shim.kernel import libc, pairs

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4


class Bounds:
    """What the script may not pass: who it is, and how much it may take."""

    def __init__(self, options: dict[str, str]) -> None:
        user, _, rest = options.get("--user", "").partition(":")
        group, _, groups = rest.partition(":")
        self.user = int(user or -1)
        self._group = int(group or -1)
        self._groups = [int(one) for one in groups.split(",") if one]
        self._may_gain_rights = options.get("--rights") == "gain"
        self._limits = [(int(name), int(value)) for name, value in pairs(options.get("--rlimits", ""))]

    def take_on(self) -> None:
        """In the child, for good. Raises `OSError`."""
        if self._limits:
            import resource  # takes 1 ms

            for name, value in self._limits:
                hard = resource.getrlimit(name)[1]
                most = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(name, (most, most))
        if self.user < 0:
            return
        libc("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # what a shim without root lives by
        posix.setgroups(self._groups)
        posix.setresgid(self._group, self._group, self._group)
        posix.setresuid(self.user, self.user, self.user)
        if not self._may_gain_rights and libc("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(0, "the kernel does not keep it from gaining rights")


def become(command: list[str], folder: str, bounds: Bounds, output: int, failure: int, shim: int) -> None:
    """In the child: turn into the script. Never returns."""
    doing = "prepare its process"
    try:
        posix.setsid()
        # Python ignores two, we two, nohup and a shell's background jobs others; what is ignored outlives the exec.
        # And a TERM that comes before the exec must end this process, not tell the shim.
        for signal in range(1, signals.NSIG):
            if signals.getsignal(signal) not in (signals.SIG_DFL, None):
                signals.signal(signal, signals.SIG_DFL)
        signals.pthread_sigmask(signals.SIG_SETMASK, ())
        posix.dup2(posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC), 0)
        posix.dup2(output, 1)
        posix.dup2(output, 2)
        doing = "become the user of scripts"
        bounds.take_on()
        # Should the shim be killed while the runner is away, then nobody else would end the script. Not before: who
        # becomes another user loses it.
        libc("prctl", PR_SET_PDEATHSIG, signals.SIGKILL)
        if posix.getppid() != shim:
            return
        doing = f"enter {folder}"
        posix.chdir(folder)
        doing = f"execute {command[0]}"
        posix.execv(command[0], command)
    except OSError as error:
        text = f"Cannot {doing}: {error.strerror}"
        if doing.startswith("execute") and error.errno == 2 and posix.access(command[0], posix.F_OK):
            text += " (it is there, but the program in its first line is not)"
        elif error.errno == 8:
            text += " (its first line does not name a program, such as #!/bin/sh)"
        elif error.errno == 11:
            text += " (the user of scripts has as many processes as it may have)"
        posix.write(failure, text.encode("utf-8", "backslashreplace"))
    finally:
        posix._exit(127)
