"""The MariaDB server of a host: its options, its accounts, what it is asked."""
