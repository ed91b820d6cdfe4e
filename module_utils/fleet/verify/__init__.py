"""The checks of `./fleet verify`."""
