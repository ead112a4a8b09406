"""The process: errors, log, progress, devices, compile cache, memory."""
