"""Checks of a host's bench: its environment, its programs, and data to compare with others."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import socket
from typing import Any

from ..bench.assets import asset_state
from ..bench.files import redis_address
from ..bench.jobs import custom_queues
from ..bench.look import installed_packages
from ..bench.pdf import offered, printing
from ..processes import background_workers, environment_of, schedulers, web_workers
from .host import Host
from .probes import environment, pages, places, python_answers
from .results import message_of


def resolves(name: str) -> bool:
    """Whether this host can resolve a name."""
    try:
        return bool(socket.getaddrinfo(name, 80))
    except OSError:
        return False


class BenchChecks(Host):
    """Checks of a bench."""

    def check_environment(self) -> None:
        """Whether the bench's Python and its apps are in the bench's own folder."""
        apps = sorted(self.apps)
        if not apps:
            raise AssertionError(f"there is no app in {self.bench}/apps")
        prefix, found = self.run_probe(places, *apps, says=f"{self.python} fails:")
        home = os.path.realpath(self.bench)
        strange = [f"prefix {prefix}"] if os.path.realpath(prefix) != f"{home}/env" else []
        for app, origin in found.items():
            if not origin or not os.path.realpath(origin).startswith(f"{home}/apps/{app}/"):
                strange.append(f"{app} from {origin}")
        self.gathering.add(
            "environment",
            not strange,
            ", ".join(strange) or f"prefix {prefix}, {', '.join(apps)} from apps/",
            proved=bool(strange),
        )

    def check_workers(self) -> None:
        """Compare the number of processes with the inventory."""
        heavy = self.params["heavy_workers"]
        have = {
            "web": len(web_workers(self.processes)),
            "background": len(background_workers(self.processes)),
        }
        want = {
            "web": self.params["web_workers"],
            "background": self.params["background_workers"] + heavy,
        }
        if self.params["custom_workers"]:
            want["background"] += sum(
                int(queue.get("background_workers") or 1) if isinstance(queue, dict) else 1
                for name, queue in custom_queues(self.bench).items()
                if name not in ("short", "default", "long")
            )
        self.gathering.add(
            "workers",
            have == want,
            f"{have['web']} web and {have['background']} background workers",
            wanted=f"{want['web']} web and {want['background']} background workers"
            " (bench_web_workers, bench_background_workers"
            + (f", and {heavy} for heavy jobs)" if heavy else ")"),
        )

    def check_contract(self) -> None:
        """Whether the bench's code has what our packages use."""
        self.gathering.add(
            "contract", not self.misfits, "; ".join(self.misfits) or "all that the packages use"
        )

    def check_pdf(self) -> None:
        """Print a page with the bench's Python, as its web workers do."""
        kit = printing(self.bench)
        if not kit["real"]:
            self.gathering.skip("pdf", "not applicable: this framework prints no PDFs")
            return
        generators = [name for name, command in kit["tools"].items() if command]
        none = [name for name in kit["tools"] if name not in generators]
        lacking = offered(kit["packages"])
        if not generators and not lacking:
            self.gathering.skip(
                "pdf",
                f"PDFs do not work here: this Frappe prints with {' or '.join(none)}, which is not"
                " on this host nor in this release of Debian. Install one of them yourself",
                facts={"missing": none},
            )
            return
        good, saw = not lacking, [f"{name} is not installed" for name in lacking]
        if generators:
            answers = self.run_probe(pages, self.sites[0], *generators)
            for name, (printed, answer) in answers.items():
                good = good and printed
                saw.append(f"{name}: {answer}")
        if not lacking:
            saw += [
                f"{name} is not on this host: print formats that use it do not print"
                for name in none
            ]
        # Frappe's pages link to their styles and images by the site's name.
        unknown = [site for site in self.sites if not resolves(site)]
        saw += [
            f"this host cannot resolve {site}: pages with styles or images will not print"
            for site in unknown
        ]
        facts = {"packages": lacking, "missing": none, "unresolved": unknown}
        self.gathering.add("pdf", good, "; ".join(saw), facts=facts)

    def note_apps(self) -> None:
        """Note apps, commits and web assets, to compare them with the primary's."""
        self.seen["apps"] = {
            name: {"commit": app["commit"], "changes": app["changes"]}
            for name, app in self.apps.items()
        }
        self.seen["assets"] = asset_state(self.bench)

    def note_bench(self) -> None:
        """Note the schedulers that run, and where the queue is, to compare them with the others."""
        self.seen["schedulers"] = [" ".join(p.words) for p in schedulers(self.processes)]
        common = self.common()
        self.seen["bench_id"] = common.get("bench_id")
        # A Redis URL has the password in it: only the address is compared.
        queue = redis_address(common.get("redis_queue"))
        place = f"{queue['host']}:{queue['port']}" if queue["host"] else ""
        self.seen["queue"] = place + f"/{queue['db']}" * bool(queue["db"])

    def answers(self) -> dict[str, Any]:
        """What is compared with the primary's: {config, packages, python, fonts, trouble}.

        config: the common configuration, key → hash, as some values are secrets. trouble: why some
        questions failed, "" when none did. Where no program of the bench runs, Python is not asked,
        as no report is made there.
        """
        found: dict[str, Any] = {"config": {}, "packages": {}, "python": {}, "fonts": []}
        found["trouble"] = ""
        try:
            for key, value in self.common().items():
                text = json.dumps(value, sort_keys=True)
                found["config"][key] = hashlib.sha256(text.encode()).hexdigest()[:12]
            found["packages"] = installed_packages(self.bench)
            programs = web_workers(self.processes) or background_workers(self.processes)
            if programs:
                found["python"], found["fonts"] = self.ask_python(programs[0].pid)
        except Exception as error:
            found["trouble"] = message_of(error)
        return found

    def ask_python(self, pid: int) -> tuple[dict[str, str], list[str]]:
        """The answers of the bench's Python in a program's environment, and the fonts there."""
        program, stdin = inspect.getsource(python_answers), json.dumps(environment_of(pid))
        answers, fonts = self.run_probe(environment, program, options=["-I"], stdin=stdin)
        texts = {str(name): str(answer)[:200] for name, answer in answers.items()}
        return texts, [str(name)[:100] for name in fonts]
