"""The project's tests, run and summed up: `./fleet test`."""
