"A plugin of pytest: tests that would begin after a budget of computing time is spent are left out, and their number is printed"
import os, pytest

BUDGET = 40 # seconds of this process and its children, so that a busy machine leaves out no more than an idle one
left = []

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if sum(os.times()[:4])>BUDGET:
        left.append(item)
        pytest.skip('the time of a quick check is spent')

def pytest_terminal_summary(terminalreporter):
    if not left: return
    files = ' '.join(dict.fromkeys(o.nodeid.partition('::')[0] for o in left))
    terminalreporter.write_line(f'A quick check has {BUDGET} s for tests, and {len(left)} were left out; run them with: .venv/bin/pytest {files}')
