"""The text of a template of a role; see DOCUMENTATION."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

DOCUMENTATION = """
name: rendered
short_description: The text of a template
description:
  - As C(ansible.builtin.template), without its options and without its variables about the file.
  - That one copies all variables of the host for each template, which took a tenth of what a run
    costs the controller.
options:
  _terms: {description: Files in a role's folder C(templates)., required: true}
"""

EXAMPLES = """
- name: Rules are in place
  files:
    files:
      - {path: /etc/rules, content: "{{ lookup('rendered', 'rules.j2') }}"}
"""

RETURN = """
_raw: {description: The text of each file., type: list, elements: str}
"""


class LookupModule(LookupBase):  # type: ignore[misc]
    """Called by lookup('rendered', FILE)."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **_kwargs: Any
    ) -> list[str]:
        """Return the texts. Raises AnsibleError for a file that does not exist."""
        texts = []
        for term in terms:
            path = self.find_file_in_search_path(variables, "templates", term)
            if not path:
                raise AnsibleError(f"no template {term}")
            template = trust_as_template(self._loader.get_text_file_contents(path))
            texts.append(self._templar.template(template, escape_backslashes=False))
        return texts
