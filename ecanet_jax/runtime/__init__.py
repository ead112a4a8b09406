"""What a process is: errors, log, progress, devices, compile cache, memory."""
