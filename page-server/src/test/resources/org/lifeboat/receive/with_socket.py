"""with_socket.py SOCKET COMMAND...: runs the command with a connection to the socket as fd 9."""
import os
import socket
import sys

connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
SO_SNDBUFFORCE = 32
connection.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
connection.connect(sys.argv[1])
os.dup2(connection.fileno(), 9, inheritable=True)
os.execvp(sys.argv[2], sys.argv[2:])
