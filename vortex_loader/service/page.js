"use strict";
const at = (id) => document.getElementById(id);
const token = at("token");
token.value = sessionStorage.getItem("token") || "";
token.addEventListener("change", () => sessionStorage.setItem("token", token.value));

function element(name, text, parent) {
  const made = document.createElement(name);
  made.textContent = text;
  parent.append(made);
  return made;
}

async function change(method, path, names, body) {
  const headers = { Authorization: `Bearer ${token.value}`, "Content-Type": "application/json" };
  const reply = await fetch(`${path}?${new URLSearchParams(names)}`, {
    method, headers, body: method === "PUT" ? JSON.stringify(body) : undefined,
  });
  const failed = reply.ok ? "" : (await reply.json()).detail;
  at("said").textContent = reply.ok ? "Done." : typeof failed === "string" ? failed : JSON.stringify(failed);
  at("said").className = reply.ok ? "" : "failed";
  if (reply.ok) await show();
}

function showCustomer(name, rules) {
  const section = element("section", "", at("list"));
  const title = element("h2", name, section);
  if (rules.enabled === false) element("small", " not loaded", title);
  const table = element("table", "", section);
  const events = Array.isArray(rules.events) ? rules.events : [];
  if (rules.events === "all") element("p", "all events", section);
  if (rules.events === null) element("p", "the events of the default", section);
  for (const event of events) {
    const row = element("tr", "", table);
    element("td", event, row);
    element("td", (rules.event[event] || {}).table || "", row);
    const button = element("button", "Remove", element("td", "", row));
    button.setAttribute("aria-label", `Remove ${event} of ${name}`);
    button.addEventListener("click", () => change("DELETE", "/v1/events", { customer: name, event }));
  }
  const option = element("option", "", at("customers"));
  option.value = name;
}

async function show() {
  const catalog = await (await fetch("/v1/catalog")).json();
  const changes = await (await fetch("/v1/changes?most=20")).json();
  for (const id of ["list", "customers", "changes"]) at(id).replaceChildren();
  for (const [name, rules] of Object.entries(catalog.customer)) showCustomer(name, rules);
  for (const one of changes) element("li", `${one.at} ${one.who}: ${one.what}`, at("changes"));
}

at("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const table = at("table").value;
  change("PUT", "/v1/events", { customer: at("customer").value, event: at("event").value }, table ? { table } : {});
});
show();
