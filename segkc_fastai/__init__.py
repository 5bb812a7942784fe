__version__ = "0.2.0"

from .core.console import quiet_libraries

quiet_libraries()
