"""What this machine is: CPU, memory, installed packages, GPUs."""
