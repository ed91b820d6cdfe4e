"""What this app adds to a site; read by bench, the installer and the scheduler."""

app_name = "frappe"
app_title = "Benchfleet Demo Framework"
app_publisher = "Benchfleet"
app_description = "A stand-in for the Frappe framework"
app_license = "MIT"

# bench decides between npm and yarn by this value's major version
develop_version = "16.x.x-develop"

scheduler_events = {
    "cron": {
        "* * * * *": ["frappe.demo.record_tick"],
        "*/5 * * * *": [
            "frappe.demo.count_stock",
            "frappe.demo.close_books",
            "frappe.demo.send_digest",
        ],
    },
    "daily": ["frappe.sessions.clear_expired_sessions"],
}
