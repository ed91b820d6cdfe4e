"""The Python behind ./fleet: the throwaway lab, the runner of playbooks, and the tests' runner."""
