// The desk's script: sends a form as a call, and shows the rows and who answered.
"use strict";

function rowsOf(body) {
	if (body.message && body.message.result) return [body.message.columns, ...body.message.result];
	const documents = [].concat(body.data || []);
	return documents.length ? [Object.keys(documents[0]), ...documents.map(Object.values)] : [];
}

function show(rows) {
	const table = document.getElementById("rows");
	table.replaceChildren();
	rows.forEach((row, number) => {
		const line = table.insertRow();
		for (const value of row) {
			const cell = document.createElement(number ? "td" : "th");
			cell.textContent = value;
			line.append(cell);
		}
	});
}

async function send(form) {
	const fields = new URLSearchParams(new FormData(form));
	const post = form.method === "post";
	const address = form.getAttribute("action");
	const answer = await fetch(post ? address : `${address}?${fields}`, {
		method: form.method.toUpperCase(),
		headers: { Accept: "application/json" },
		body: post ? fields : undefined,
	});
	const said = (name) => answer.headers.get(name) || "unknown";
	const body = await answer.json();
	const who = `bench ${said("X-Fleet-Bench")}, database ${said("X-Fleet-Database")}`;
	const rows = answer.ok ? rowsOf(body) : [];
	const refusal = answer.ok ? "" : ` HTTP ${answer.status}: ${body.exception || body.message}`;
	const none = answer.ok && rows.length < 2 ? " No rows." : "";
	document.getElementById("who").textContent = `Answered by ${who}.${refusal}${none}`;
	show(rows);
	return answer.ok;
}

async function call(form) {
	try {
		return await send(form);
	} catch (error) {
		document.getElementById("who").textContent = `No answer: ${error.message}`;
		show([]);
		return false;
	}
}

document.addEventListener("submit", async (event) => {
	const form = event.target;
	event.preventDefault();
	if (!(await call(form))) return;
	if (form.id === "sign-out") window.location.assign("/login");
	if (form.id === "save") {
		form.reset();
		await call(document.getElementById("list"));
	}
});
call(document.getElementById("list"));
