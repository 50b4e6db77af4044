"""Two hosts and a hub on one machine: the hosts reach the hub's Git, DVC remote and Prefect server through SSH alone.

Where Linux allows it, each host has a network namespace of its own, joined to the hub by a pair of virtual interfaces,
and finds empty folders where the hub's files and the other host's are. Elsewhere they are two homes on loopback.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.flows.services import Background, clean_environment, free_port, wait_until

SSHD = "/usr/sbin/sshd"
HUB = "hub"
"""As the hosts call it in URLs: `ssh://hub/…`."""
_INSIDE = """\
ip link set lo up
for folder in $HIDDEN; do mount -t tmpfs none "$folder"; done
exec "$@"
"""


@dataclass(frozen=True)
class Host:
    """Where a worker runs.

    Attributes:
        folder: its files.
        prefix: what comes before a command that is to run there.
        environment: of everything there.
        is_apart: whether it has a network and a view of the file system of its own.
    """

    folder: Path
    prefix: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    is_apart: bool = False

    def run(self, *command: str, expected: int = 0) -> str:
        done = subprocess.run(
            [*self.prefix, *command],
            env=clean_environment() | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, f"{command} returned {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@contextmanager
def two_hosts(folder: Path, hub: Path, server_port: int) -> Iterator[tuple[Host, Host]]:
    """Start the hub's SSH server and return two hosts that reach it.

    Args:
        folder: for the hosts.
        hub: the hub's files, which the hosts are to reach through SSH alone.
        server_port: of the Prefect server on the hub's loopback; the hosts find it on their own, by a tunnel.
    """
    if not Path(SSHD).exists() or not shutil.which("ssh"):
        pytest.skip(f"no SSH server: {SSHD} is missing; Debian has it in openssh-server")
    names = [f"{place}{os.getpid()}" for place in ("one", "two")]
    folders = [folder / name for name in names]
    keys = folder / "keys"
    for path in (*folders, keys):
        path.mkdir()
    _make_keys(keys)
    port = free_port()
    with ExitStack() as stack:
        is_apart = _can_be_apart()
        addresses = ["127.0.0.1", "127.0.0.1"]
        if is_apart:
            addresses = [stack.enter_context(_joined(name, number)) for number, name in enumerate(names)]
        stack.enter_context(_ssh_server(keys, port, sorted({"127.0.0.1", *addresses})))
        hosts = []
        for name, own, other, address in zip(names, folders, reversed(folders), addresses, strict=True):
            environment = _configure_ssh(own, keys, address, port)
            prefix = []
            if is_apart:
                hidden = {"HIDDEN": f"{hub} {other}"}
                prefix = ["ip", "netns", "exec", name, "env", *(f"{key}={value}" for key, value in hidden.items())]
                prefix += ["sh", "-ec", _INSIDE, "sh"]
            hosts.append(Host(own, prefix, environment, is_apart))
            if is_apart:
                stack.enter_context(_tunnel(hosts[-1], server_port))
        yield hosts[0], hosts[1]


def _make_keys(folder: Path) -> None:
    for name in ("server", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)


@contextmanager
def _ssh_server(keys: Path, port: int, addresses: Sequence[str]) -> Iterator[None]:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it separates privileges
    authorized = keys / "authorized_keys"
    shutil.copy(keys / "client.pub", authorized)
    config = keys / "sshd_config"
    lines = [f"ListenAddress {address}:{port}" for address in addresses]
    lines += [f"HostKey {keys / 'server'}", f"AuthorizedKeysFile {authorized}", "StrictModes no", "UsePAM no"]
    lines += ["PasswordAuthentication no", "PermitRootLogin prohibit-password", "MaxStartups 100"]
    lines += [f"PidFile {keys / 'sshd.pid'}", "Subsystem sftp internal-sftp"]
    config.write_text("\n".join(lines) + "\n")
    log = keys / "sshd.log"
    with Background([SSHD, "-D", "-e", "-f", str(config)], log, clean_environment(), keys) as server:
        wait_until(lambda: "Server listening" in server.output or not server.is_running, "the SSH server", log=log)
        assert server.is_running, server.output
        yield


def _configure_ssh(folder: Path, keys: Path, address: str, port: int) -> dict[str, str]:
    """Give a host a home with a key, and return the environment in which Git and DVC use it."""
    home = folder / "home"
    ssh = home / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    shutil.copy(keys / "client", ssh / "id_ed25519")
    known = ssh / "known_hosts"
    known.write_text(f"[{address}]:{port} {(keys / 'server.pub').read_text()}")
    config = ssh / "config"
    lines = [f"HostName {address}", f"Port {port}", f"IdentityFile {ssh / 'id_ed25519'}", "IdentitiesOnly yes"]
    lines += [f"UserKnownHostsFile {known}", "GlobalKnownHostsFile none", "StrictHostKeyChecking yes"]
    config.write_text("\n".join([f"Host {HUB}", *(f"    {line}" for line in lines)]) + "\n")
    # OpenSSH looks for ~/.ssh in the user's true home, whatever HOME says.
    return {"HOME": str(home), "GIT_SSH_COMMAND": f"ssh -F {config}"}


def _can_be_apart() -> bool:
    """Return whether namespaces can be made here: it takes root, `ip`, and a kernel or container that lets it."""
    if os.geteuid() or not shutil.which("ip"):
        return False
    name = f"try{os.getpid()}"
    commands = [
        ["ip", "netns", "add", name],
        ["ip", "netns", "exec", name, "mount", "-t", "tmpfs", "none", "/mnt"],
        ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}b"],
    ]
    works = all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands)
    subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return works


@contextmanager
def _joined(name: str, number: int) -> Iterator[str]:
    """Make a network namespace that reaches this one, and return this one's address as seen from there."""
    here, there = f"h{name}"[:15], f"t{name}"[:15]
    network = f"198.18.{os.getpid() % 256}"  # for tests between networks, RFC 2544
    address = f"{network}.{4 * number + 1}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _ip("address", "add", f"{address}/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-netns", name, "address", "add", f"{network}.{4 * number + 2}/30", "dev", there)
        _ip("-netns", name, "link", "set", there, "up")
        yield address
    finally:
        _ip("netns", "del", name)  # and with it both interfaces


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def _tunnel(host: Host, port: int) -> Iterator[None]:
    forward = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:{port}"]
    command = [*host.prefix, "ssh", "-v", "-F", str(host.folder / "home/.ssh/config"), *forward, HUB]
    log = host.folder / "tunnel.log"
    with Background(command, log, clean_environment(), host.folder) as tunnel:
        wait_until(lambda: "Entering interactive session" in tunnel.output, "the tunnel", log=log)
        yield
