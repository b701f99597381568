"""Load the plugins in `fixtures/plugins`; the plugins provide all fixtures."""

pytest_plugins = [
    "pytester",
    "fixtures.plugins.session",
    "fixtures.plugins.requirement_markers",
    "fixtures.plugins.records",
    "fixtures.plugins.skip_reports",
    "fixtures.plugins.allure_results",
    "fixtures.plugins.exclusive",
    "fixtures.plugins.early_end",
    "fixtures.plugins.hosts",
    "fixtures.plugins.stack_messages",
    "fixtures.plugins.guests",
    "fixtures.plugins.encryption",
    "fixtures.plugins.matrix",
    "fixtures.plugins.guest_sizes",
    "fixtures.plugins.lanes",
    "fixtures.plugins.smoke",  # after lanes: the last one registered chooses first
    "fixtures.plugins.preflight",
    "fixtures.plugins.pair_order",
    "fixtures.plugins.operator_commands",
]
