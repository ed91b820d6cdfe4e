// A stand-in for the realtime server: it answers HTTP 200 on /socket.io/ so that routing and
// process supervision can be seen to work. It speaks no socket.io and pushes no events. Like the
// original it refuses a page of another host.
"use strict";
const fs = require("fs");
const http = require("http");
const path = require("path");

const bench = path.resolve(__dirname, "..", "..");
const config = JSON.parse(fs.readFileSync(path.join(bench, "sites", "common_site_config.json")));
const port = Number(process.env.FRAPPE_SOCKETIO_PORT || config.socketio_port || 9000);

const hostname = (text) => text.replace(/^https?:\/\//, "").replace(/:\d+$/, "");

const server = http.createServer((request, response) => {
	const known = request.url.startsWith("/socket.io");
	const { host, origin } = request.headers;
	const foreign = origin !== undefined && hostname(origin) !== hostname(host);
	const status = !known ? 404 : foreign ? 403 : 200;
	response.writeHead(status, { "Content-Type": "application/json" });
	response.end(JSON.stringify(known ? { demo: true, pid: process.pid } : { demo: true }));
});
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
server.listen(port, () => console.log(`Realtime stand-in on port ${port}`));
