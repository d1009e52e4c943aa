"""The command line.

main.py      from its start to its exit code
parser.py    words into options; what cannot be read is an error like any other
command.py   what a command is
commands.py  the commands: which options each takes, and what it runs
door.py      make, the other way in: values from its variables, messages in its language
schemas.py   JSON schemas of the files that users and programs read and write
document.py  writes what is generated from all these
"""
