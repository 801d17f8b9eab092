// Shows /v1/openapi.json. Text from the description is only ever set as text.
"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

// Paragraphs, tables and `code` are all that the descriptions use of Markdown.
function inline(parent, text) {
  text.split("`").forEach((part, at) => parent.append(at % 2 ? element("code", part) : part));
  return parent;
}

function prose(text) {
  const all = document.createDocumentFragment();
  for (const block of (text || "").split(/\n\s*\n/)) {
    const rows = block.trim().split("\n");
    if (rows[0].startsWith("|")) {
      const table = element("table");
      rows.filter((row) => !/^[|\s-]+$/.test(row)).forEach((row, at) => {
        const cells = row.split("|").slice(1, -1).map((cell) => inline(element(at ? "td" : "th"), cell.trim()));
        table.append(element("tr", "", ...cells));
      });
      all.append(table);
    } else {
      all.append(inline(element("p"), rows.join(" ")));
    }
  }
  return all;
}

function named(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array" || schema.items) return named(schema.items) + "[]";
  const choices = schema.oneOf || schema.anyOf || schema.allOf;
  if (choices) return choices.map(named).join(" or ");
  return [].concat(schema.enum || schema.const || schema.format || schema.type || "any").join(" | ");
}

function fields(api, schema) {
  const table = element("table");
  const seen = new Set();
  const add = (part) => {
    if (!part || seen.has(part)) return;
    seen.add(part);
    if (part.$ref) return add(api.components.schemas[part.$ref.split("/").pop()]);
    (part.allOf || part.oneOf || part.anyOf || []).forEach(add);
    for (const [name, field] of Object.entries(part.properties || {})) {
      const required = (part.required || []).includes(name) ? "" : " (optional)";
      const about = element("td", "", element("small", named(field) + required), prose(field.description));
      table.append(element("tr", "", element("td", "", element("code", name)), about));
    }
  };
  add(schema);
  return table;
}

function operation(api, method, path, about) {
  const box = element("details");
  const title = element("summary");
  title.append(Object.assign(element("span", method.toUpperCase()), { className: "method" }), element("code", path), " ", about.summary || "");
  box.append(title, prose(about.description));
  for (const parameter of about.parameters || []) {
    const line = element("p", "", element("code", parameter.name), ` ${parameter.in}, ${named(parameter.schema)}`);
    line.append(parameter.required ? ": " : ", optional: ", inline(element("span"), parameter.description || ""));
    box.append(line);
  }
  const body = about.requestBody && Object.values(about.requestBody.content)[0];
  if (body) box.append(element("h4", "Body"), fields(api, body.schema));
  for (const [status, answer] of Object.entries(about.responses || {})) {
    const [kind, content] = Object.entries(answer.content || {})[0] || ["", null];
    box.append(element("h4", `${status} ${answer.description || ""} ${kind}`));
    if (content && !/[45]/.test(status[0])) box.append(fields(api, content.schema));
  }
  return box;
}

async function show() {
  const place = document.getElementById("operations");
  const answer = await fetch("/v1/openapi.json");
  if (!answer.ok) throw new Error(`the description is not to be had: ${answer.status}`);
  const api = await answer.json();
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("introduction").append(prose(api.info.description));
  place.textContent = "";
  for (const tag of api.tags || []) {
    place.append(element("h2", tag.name), prose(tag.description));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, about] of Object.entries(methods)) {
        if ((about.tags || []).includes(tag.name)) place.append(operation(api, method, path, about));
      }
    }
  }
}

show().catch((error) => { document.getElementById("operations").textContent = String(error); });
