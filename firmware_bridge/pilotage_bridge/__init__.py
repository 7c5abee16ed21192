"""MAVLink in and out. Read gps_input (what is said), heartbeat, link (where to), publisher, listen."""
