"""Which packages make a RabbitMQ that runs without being installed."""

from __future__ import annotations

from libs.stack.packages import wanted

# As `apt-cache depends --recurse` writes it (bookworm, shortened).
_DEPENDS = """\
rabbitmq-server
  Depends: adduser
 |Depends: erlang-base
  Depends: <erlang-base-hipe>
  Depends: erlang-crypto
  Depends: lsb-base
    sysvinit-utils
  Depends: socat
  Depends: <python3:any>
    python3
adduser
  Depends: libadduser1
erlang-base
  Depends: procps
  Depends: libc6
  Depends: libgcc-s1
  Depends: libsystemd0
    libelogind0
  Depends: libtinfo6
socat
  Depends: libwrap0
<erlang-base-hipe>
erlang-crypto
  Depends: erlang-base
  Depends: libssl3
libsystemd0
  PreDepends: libcap2
  Depends: libc6
libcap2
  Depends: libc6
procps
  Depends: libproc2-0
"""


def test_the_server_erlang_and_the_libraries_that_are_missing() -> None:
    needed = wanted(_DEPENDS, frozenset({"libtinfo6", "libssl3"}))
    assert needed == ["erlang-base", "erlang-crypto", "libcap2", "libsystemd0", "rabbitmq-server"]


def test_the_c_library_is_never_replaced_even_where_the_list_of_packages_is_empty() -> None:
    needed = wanted(_DEPENDS, frozenset())
    assert {"libc6", "libgcc-s1"}.isdisjoint(needed)
    assert {"libtinfo6", "libssl3"} <= set(needed)


def test_no_list_of_packages_gives_nothing() -> None:
    assert wanted("", frozenset()) == []
    assert wanted("E: No packages found\n", frozenset()) == []


def test_another_server_is_wanted_with_its_own_libraries_only() -> None:
    assert wanted(_DEPENDS, frozenset({"libwrap0"}), "socat") == ["socat"]
    assert wanted(_DEPENDS, frozenset(), "socat") == ["libwrap0", "socat"]
    assert wanted(_DEPENDS, frozenset(), "postgresql-15") == []
