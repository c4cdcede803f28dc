"""Starts a module with sockets, as systemd starts a service: `activated 7,8 MODULE ARGUMENT…`.

The file descriptors become 3, 4 and so on.
"""

import os
import sys

if __name__ == "__main__":
    descriptors = [int(each) for each in sys.argv[1].split(",")]
    copies = [os.dup(each) for each in descriptors]  # so that none is overwritten before its turn
    for number, copy in enumerate(copies, 3):
        os.dup2(copy, number)
        os.set_inheritable(number, True)  # which dup2 leaves undone if they are the same
    sockets = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(copies))}
    command = [sys.executable, "-m", *sys.argv[2:]]
    os.execve(sys.executable, command, {**os.environ, **sockets})
