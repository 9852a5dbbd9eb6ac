"""A Kafka cluster of our own: real brokers on loopback that start in seconds and can be killed, stopped and resumed.

async with Cluster(folder, nodes=3) as cluster:
    log = await KafkaLog.open(cluster.settings())
    cluster.kill(1)
    await cluster.restart(1)
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import socket
import subprocess
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from stream.adapters.kafka.settings import KafkaSettings
from tests.kafka.certificates import KEY_PASSWORD, Certificates, issue
from tests.kafka.fetch import ARCHIVE, FETCHED, JARS, kcat
from tests.kafka.proxy import Proxy

DEADLINE_S = 60.0
"""For whatever must come; a broker mostly answers within five seconds."""
STOP_S = 30.0
POLL_S = 0.05
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
JAVA = ("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
TOOLS = {
    "acls": "org.apache.kafka.tools.AclCommand",
    "configs": "kafka.admin.ConfigCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "topics": "org.apache.kafka.tools.TopicCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
}
LOGGED = re.compile(r"%\d\|")
"""How the lines of kcat's library begin."""
LISTENERS = {
    "PLAINTEXT": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "PROXIED": "PLAINTEXT",
    "SSL": "SSL",
    "SASL_SSL": "SASL_SSL",
}
"""What a node listens on, and the protocol there.  Whoever comes to PROXIED is told the ports of the proxies."""
PORTS = (*LISTENERS, "PROXY")
ADMIN = "admin"
WORKER = "worker"
"""May do nothing before `acls` says so: as the other users, whoever shows the client's certificate included."""
PASSWORDS = {ADMIN: "admin-secret", WORKER: "worker-secret"}
"""Of SASL_SSL, in each mechanism.  Nobody is asked on PLAINTEXT, and nothing forbidden there."""


class NotStarted(Exception):
    """A broker does not answer; the message has the end of its log."""


class Cluster:
    """One node, or three that stand in for each other.  Nodes are numbered from 1."""

    def __init__(self, folder: Path, nodes: int = 1, **properties: str | int) -> None:
        """`properties` are the broker's, with `_` for `.`, and win over those of `_properties`."""
        if not FETCHED.exists():
            raise NotStarted("there is no Kafka in .kafka/: run `make test-kafka`, which fetches it")
        self.nodes = range(1, nodes + 1)
        self.broker_options: tuple[str, ...] = (f"-XX:SharedArchiveFile={ARCHIVE}",)
        self._folder = folder
        self._certificates = Certificates(folder)
        self._own = {name.replace("_", "."): value for name, value in properties.items()}
        ports = iter(free_ports(nodes * len(PORTS)))
        self._ports = {(listener, node): next(ports) for listener in PORTS for node in self.nodes}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def start(self) -> Self:
        """All nodes, from nothing; raises NotStarted."""
        issue(self._folder, client=WORKER)
        for node in self.nodes:
            self._file(node).write_text("".join(f"{name}={value}\n" for name, value in self._properties(node).items()))
        await asyncio.gather(*map(self._format, self.nodes))
        for node in self.nodes:
            self._spawn(node)
        await self.answers()
        return self

    def close(self) -> None:
        """Kill all nodes: nobody needs what they hold any more."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()

    def port(self, node: int, listener: str = "PLAINTEXT") -> int:
        return self._ports[listener, node]

    def servers(self, listener: str = "PLAINTEXT") -> str:
        """Of all nodes, as a client wants them."""
        return ",".join(f"127.0.0.1:{self.port(node, listener)}" for node in self.nodes)

    def settings(self, **overrides: Any) -> KafkaSettings:
        """How our own reach it: with `security_protocol`, at its listener, as `WORKER`."""
        protocol = overrides.get("security_protocol", "PLAINTEXT")
        words: dict[str, Any] = {"servers": self.servers(protocol)}
        if protocol.endswith("SSL"):
            words["ssl_ca_file"] = self._certificates.authority
        if protocol == "SSL":
            words["ssl_cert_file"] = self._certificates.client
            words["ssl_key_file"] = self._certificates.client_key
            words["ssl_key_password"] = lambda: KEY_PASSWORD
        if protocol == "SASL_SSL":
            user = overrides.get("sasl_username", WORKER)
            words |= {"sasl_username": user, "sasl_password": lambda: PASSWORDS[user]}
        return KafkaSettings(**{**words, **overrides})

    # Troubles

    def kill(self, node: int) -> None:
        """SIGKILL.  What it had acknowledged is in the operating system's hands and comes back."""
        process = self._processes.pop(node)
        process.kill()
        process.wait()

    def pause(self, node: int) -> None:
        """SIGSTOP: its connections stay, and nothing comes over them."""
        self._processes[node].send_signal(signal.SIGSTOP)

    def resume(self, node: int) -> None:
        self._processes[node].send_signal(signal.SIGCONT)

    async def stop(self, node: int) -> None:
        """SIGTERM: it hands over what it leads; SIGKILL if it does not come to an end."""
        process = self._processes[node]
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.to_thread(process.wait)
        except TimeoutError:
            process.kill()
        process.wait()
        del self._processes[node]

    async def restart(self, *nodes: int) -> None:
        """Start nodes that were killed or stopped, and wait until all that run know them; raises NotStarted."""
        for node in nodes:
            self._spawn(node)
        await self.answers()

    @asynccontextmanager
    async def proxied(self) -> AsyncIterator[Mapping[int, Proxy]]:
        """A proxy before each node; whoever is to come through them has `settings(servers=servers("PROXY"))`."""
        proxies = {node: Proxy(self.port(node, "PROXY"), self.port(node, "PROXIED")) for node in self.nodes}
        async with AsyncExitStack() as held:
            for proxy in proxies.values():
                await held.enter_async_context(proxy)
            yield proxies

    # Waiting

    async def answers(self) -> None:
        """Wait until each node that runs answers and knows all that run; raises NotStarted."""
        for node in self._processes:
            try:
                await until(partial(self._knows_all, node))
            except TimeoutError as error:
                raise NotStarted(f"node {node} does not answer after {DEADLINE_S} s; {self.tail(node)}") from error

    async def in_sync(self) -> None:
        """Wait until every partition has all its replicas, so that the next node can be killed without loss."""
        async with self.admin() as admin:

            async def complete() -> bool:
                topics = await admin.describe_topics()
                return all(
                    len(each["isr"]) == len(each["replicas"]) for topic in topics for each in topic["partitions"]
                )

            await until(complete)

    def tail(self, node: int, lines: int = 30) -> str:
        """The end of a node's log, with its place."""
        path = self._log(node)
        return f"{path} ends with:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    # Other clients

    def admin(self, node: int | None = None) -> AbstractAsyncContextManager[AIOKafkaAdminClient]:
        """aiokafka's, over all nodes or one."""
        servers = self.servers() if node is None else f"127.0.0.1:{self.port(node)}"
        return administering(KafkaSettings(servers=servers))

    async def create(self, topic: str, partitions: int = 1, **words: str) -> None:
        """A topic that every node knows; `words` are its configuration, with `_` for `.`."""
        configuration = {name.replace("_", "."): value for name, value in words.items()}
        async with self.admin() as admin:
            await admin.create_topics([NewTopic(topic, partitions, -1, {}, configuration)])
        for node in self._processes:
            async with self.admin(node) as admin:
                await until(partial(_has, admin, topic))

    async def tool(self, name: str, *words: str, stdin: str = "", status: int = 0) -> str:
        """What Kafka's own command `kafka-NAME` prints."""
        if "--bootstrap-server" not in words:
            words = ("--bootstrap-server", self.servers(), *words)
        return await _called(*JAVA, "-cp", f"{JARS}/*", TOOLS[name], *words, stdin=stdin, status=status)

    async def kcat(self, *words: str, stdin: str = "", status: int = 0) -> str:
        """What kcat prints; if all goes well, without what its library logs of brokers that are away."""
        program, environ = kcat()
        if "-b" not in words:
            words = ("-b", self.servers(), *words)
        said = await _called(str(program), *words, stdin=stdin, status=status, env=dict(environ))
        return said if status else "".join(line for line in said.splitlines(keepends=True) if not LOGGED.match(line))

    # How it is made

    def _properties(self, node: int) -> dict[str, str | int]:
        copies = min(3, len(self.nodes))
        least = max(1, copies - 1)
        voters = ",".join(f"{each}@127.0.0.1:{self.port(each, 'CONTROLLER')}" for each in self.nodes)
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": self._addresses(node, {each: each for each in LISTENERS}),
            "advertised.listeners": self._addresses(
                node, {"PLAINTEXT": "PLAINTEXT", "PROXIED": "PROXY", "SSL": "SSL", "SASL_SSL": "SASL_SSL"}
            ),
            "listener.security.protocol.map": ",".join(map(":".join, LISTENERS.items())),
            "log.dirs": str(self._folder / f"{node}.data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": least,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": least,
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "log.index.size.max.bytes": 1 << 20,
            **self._security(),
            **self._own,
        }  # fmt: skip

    def _addresses(self, node: int, places: Mapping[str, str]) -> str:
        return ",".join(f"{name}://127.0.0.1:{self.port(node, place)}" for name, place in places.items())

    def _security(self) -> dict[str, str | int]:
        login = "org.apache.kafka.common.security"
        scram = f"{login}.scram.ScramLoginModule required;"
        users = " ".join(f'user_{user}="{password}"' for user, password in PASSWORDS.items())
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._certificates.broker),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._certificates.authority),
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{login}.plain.PlainLoginModule required {users};",
            "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{ADMIN}",
        }

    async def _format(self, node: int) -> None:
        words: tuple[str, ...] = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._file(node)))
        for user, password in PASSWORDS.items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                words += ("--add-scram", f"{mechanism}=[name={user},password={password}]")
        await _called(*JAVA, "-cp", f"{JARS}/*", *words)

    def _spawn(self, node: int) -> None:
        """The kernel kills it when the thread that called this has ended, however that came: call it from the main."""
        with self._log(node).open("ab") as log:
            self._processes[node] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *JAVA, *self.broker_options,
                 "-Dorg.apache.logging.log4j.level=INFO", "-cp", f"{JARS}/*",
                 "kafka.Kafka", self._file(node)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    async def _knows_all(self, node: int) -> bool:
        if self._processes[node].poll() is not None:
            raise NotStarted(f"node {node} ended with {self._processes[node].returncode}; {self.tail(node)}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port(node))  # aiokafka would log a refusal
        except OSError:
            return False
        writer.close()
        try:
            async with self.admin(node) as admin:
                described = await admin.describe_cluster()
        except (KafkaError, OSError):
            return False
        return {broker["node_id"] for broker in described["brokers"]} == set(self._processes)

    def _file(self, node: int) -> Path:
        return self._folder / f"{node}.properties"

    def _log(self, node: int) -> Path:
        return self._folder / f"{node}.log"


def free_ports(count: int) -> list[int]:
    """Below those that the kernel gives to whoever connects, so that they are still free after a kill."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            one = held.enter_context(socket.socket())
            port = random.randrange(20_000, 32_000)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    return ports


@asynccontextmanager
async def administering(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """aiokafka's client for what an operator may do to a cluster."""
    admin = AIOKafkaAdminClient(**settings.client())
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def until(holds: Callable[[], Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition that nobody tells of; raises TimeoutError."""
    async with asyncio.timeout(deadline_s):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


async def _has(admin: AIOKafkaAdminClient, topic: str) -> bool:
    (described,) = await admin.describe_topics([topic])
    return bool(described["error_code"] == 0 and all(each["leader"] >= 0 for each in described["partitions"]))


async def _called(*words: str, stdin: str = "", status: int = 0, env: dict[str, str] | None = None) -> str:
    """What a command prints; it must end with this status."""
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=env)
    try:
        async with asyncio.timeout(DEADLINE_S):
            said, _ = await process.communicate(stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = said.decode(errors="replace")
    assert process.returncode == status, f"{' '.join(words)} ended with {process.returncode}: {text}"
    return text
