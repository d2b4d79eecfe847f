package testenv

import "syscall"

// processAttributes give a server a session of its own if it is to outlive
// this process; else the kernel ends it with us, even after a crash.
func processAttributes(detached bool) *syscall.SysProcAttr {
	if detached {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
