"""Runs a program of ours in a process that cannot open a connection: python -m ... PROGRAM ARGS."""

import runpy
import socket
import sys


class Refused(BaseException):
  """So that nobody takes it for a network that is down and tries again."""


def refuse(*arguments, **options):
  print(f'NETWORK {arguments}', file=sys.stderr, flush=True)
  raise Refused(f'a connection was opened: {arguments}')


if __name__ == '__main__':
  for name in ('connect', 'connect_ex', 'sendto'):
    setattr(socket.socket, name, refuse)
  socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
  del sys.argv[0]
  if sys.argv[0].endswith('.py'):
    runpy.run_path(sys.argv[0], run_name='__main__')
  else:
    runpy.run_module(sys.argv[0], run_name='__main__')
