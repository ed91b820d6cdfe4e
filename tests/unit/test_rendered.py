"""The texts of templates, which are those that Ansible's own lookup makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = r"""# {{ name }}
{% for one in nested.list %}
	"~(?:^|[ ,]){{ one | regex_escape }}\z" {{ nested.of[one] | default('\\') }};
{% endfor %}
{{ 4 + 4 }}

"""


def test_a_template_is_as_ansible_s_lookup_renders_it(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/x.j2").write_text(TEMPLATE)
    (tmp_path / "templates/number.j2").write_text("{{ 4 + 4 }}")
    ours, theirs = "lookup('rendered', '{}.j2')", "lookup('ansible.builtin.template', '{}.j2')"
    same = [f"{ours} == {theirs}".replace("{}", file) for file in ("x", "number")]
    escaped = "'10\\\\.0\\\\.0\\\\.1' in " + ours.replace("{}", "x")
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {
                "name": "{{ other }}",
                "other": "a\\b",
                "nested": {"list": ["10.0.0.1", "b"], "of": {"b": "{{ name }}"}},
            },
            "tasks": [{"ansible.builtin.assert": {"that": [*same, escaped]}}],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
