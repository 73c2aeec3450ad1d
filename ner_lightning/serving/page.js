
"use strict";
const byId = id => document.getElementById(id);
const items = [...document.querySelectorAll(".labels li")];
const labels = items.map(item => item.textContent);
items.forEach((item, index) => { item.className = "k" + index % 6; });

// Text is added as text nodes, so that nothing in it can become markup.
function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

function showStatus(text, isError) {
  byId("status").textContent = text;
  byId("status").className = isError ? "error" : "";
}

function show(text, entities) {
  const characters = Array.from(text);  // the service counts code points, JavaScript UTF-16 units
  const cut = (from, to) => characters.slice(from, to).join("");
  const parts = [];
  let end = 0;
  // Of entities that share words, which a service may keep, the text shows the most probable one.
  for (const entity of entities.filter(each => !each.overlaps)) {
    parts.push(cut(end, entity.start));
    const mark = element("mark", cut(entity.start, entity.end), "k" + Math.max(labels.indexOf(entity.label), 0) % 6);
    mark.append(element("b", entity.label), element("small", entity.score.toFixed(3)));
    parts.push(mark);
    end = entity.end;
  }
  parts.push(cut(end, characters.length));
  byId("result").replaceChildren(...parts);
  byId("result").hidden = text.trim() === "";
  byId("table").tBodies[0].replaceChildren(...entities.map(entity => {
    const row = element("tr");
    const name = element("th");
    name.scope = "row";
    name.append(element("bdi", entity.text));
    row.append(name, element("td", entity.label),
      element("td", entity.score.toFixed(3) + (entity.overlaps ? " (overlaps)" : "")),
      element("td", `${entity.start} to ${entity.end}`));
    return row;
  }));
  byId("found").hidden = entities.length === 0;
}

function hideResult() {
  byId("result").hidden = byId("found").hidden = true;
}

async function find(event) {
  event.preventDefault();
  const text = byId("text").value;
  byId("go").disabled = true;
  showStatus("Working …");
  try {
    const headers = { "content-type": "application/json" };
    const key = byId("key").value.trim();
    if (key) headers.authorization = `Bearer ${key}`;
    const answer = await fetch("extract", { method: "POST", headers, body: JSON.stringify({ text }) });
    const body = await answer.json();
    if (answer.status === 401) {
      byId("access").hidden = false;
      byId("key").focus();
      throw new Error(key ? "This is not the key of this service." : "This service needs its API key.");
    }
    if (!answer.ok) throw new Error(body.error);
    const { entities } = body.results[0];
    show(text, entities);
    if (text.trim() === "") showStatus("Type a text first.");
    else showStatus(entities.length === 1 ? "1 entity" : `${entities.length} entities`);
  } catch (error) {
    hideResult();
    showStatus(error.message, true);
  } finally {
    byId("go").disabled = false;
  }
}

byId("form").addEventListener("submit", find);
byId("example")?.addEventListener("click", () => {
  byId("text").value = byId("example").dataset.text;
  byId("form").requestSubmit();
});
byId("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
});
