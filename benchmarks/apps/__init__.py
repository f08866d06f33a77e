"""The applications that are measured; each shows ``/page`` to a signed-in person, and serves from ``application``.

``BENCHMARK_PACKAGE`` names the checkout whose ``flask_chatbotkit_auth`` they use, in place of the one beside this folder.
"""

import os
import sys

if "BENCHMARK_PACKAGE" in os.environ:
    sys.path.insert(0, os.environ["BENCHMARK_PACKAGE"])
