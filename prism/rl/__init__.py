"""Drives verl: settings, command, work folder, logs; `in_verl` holds what verl loads."""
