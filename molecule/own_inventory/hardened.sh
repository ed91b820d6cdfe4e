#!/bin/bash
# A server as a careful administrator hands it over; the lab runs this on each host before anything else.
set -euo pipefail

# An account with sudo that asks for a password. Terminals are asked for, except of this account, as pipelining needs it.
useradd --create-home --shell /bin/bash ops
echo 'ops:by-the-book' | chpasswd
install -d -o ops -g ops -m 0700 ~ops/.ssh
install -o ops -g ops -m 0600 /root/.ssh/authorized_keys ~ops/.ssh/authorized_keys
cat >/etc/sudoers.d/hardened <<'SUDOERS'
Defaults requiretty, use_pty
Defaults:ops !requiretty
Defaults secure_path="/usr/sbin:/usr/bin:/sbin:/bin"
ops ALL=(ALL:ALL) ALL
SUDOERS
chmod 0440 /etc/sudoers.d/hardened

# What sessions make is their owner's alone.
echo 'session optional pam_umask.so umask=0077' | tee -a /etc/pam.d/common-session >>/etc/pam.d/common-session-noninteractive
sed -i -E 's/^(UMASK\s+).*/\1077/; s/^#?(HOME_MODE\s+).*/\10700/' /etc/login.defs

# No programs in /tmp; no setuid programs and no devices in /home, a file system of its own.
cat >>/etc/fstab <<'FSTAB'
tmpfs /tmp tmpfs nosuid,nodev,noexec,mode=1777 0 0
/home /home none bind,nosuid,nodev 0 0
FSTAB
mount /tmp
mount /home
mount -o remount,bind,nosuid,nodev /home

# sshd on another port, and not for root. The lab itself, which comes from its gateway, keeps the usual one.
gateway=$(ip -4 route show default | awk '{print $3}')
cat >/etc/ssh/sshd_config.d/hardened.conf <<SSHD
Port 22
Port 2222
PasswordAuthentication no
Match LocalPort 22 Address *,!$gateway
    DenyUsers *
Match LocalPort 2222
    PermitRootLogin no
SSHD
systemctl restart ssh

# Accounts other than root's may sign in once the host is up; the unit that lets them fails at a boot in a hundred.
systemctl is-system-running --wait >/dev/null || systemctl restart systemd-user-sessions

# Frappe under the address that the example names.
cat >>/etc/gitconfig <<'GIT'
[url "/srv/lab/frappe"]
	insteadOf = https://github.com/frappe/frappe
GIT
