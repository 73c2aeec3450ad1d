
"use strict";
const at = id => document.getElementById(id);
const kinds = [...document.querySelectorAll(".labels li")].map(item => item.textContent);
kinds.forEach((_, place) => { document.querySelectorAll(".labels li")[place].className = "k" + place % 6; });

// All text goes in as text nodes: nothing in it can become markup.
function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind !== undefined) made.className = kind;
  return made;
}

function say(text, wrong) {
  at("status").textContent = text;
  at("status").className = wrong ? "wrong" : "";
}

function show(text, entities) {
  const characters = Array.from(text);  // the service counts code points, JavaScript half of some
  const cut = (from, to) => characters.slice(from, to).join("");
  const parts = [];
  let end = 0;
  for (const entity of entities) {
    parts.push(cut(end, entity.start));
    const mark = element("mark", cut(entity.start, entity.end), "k" + Math.max(kinds.indexOf(entity.label), 0) % 6);
    mark.append(element("b", entity.label), element("small", entity.score.toFixed(2)));
    parts.push(mark);
    end = entity.end;
  }
  parts.push(cut(end, characters.length));
  at("result").replaceChildren(...parts);
  at("result").hidden = false;
  at("table").tBodies[0].replaceChildren(...entities.map(entity => {
    const row = element("tr");
    const name = element("th");
    name.scope = "row";
    name.append(element("bdi", entity.text));
    row.append(name, element("td", entity.label), element("td", `${entity.start} to ${entity.end}`),
      element("td", entity.score.toFixed(4)));
    return row;
  }));
  at("table").hidden = entities.length === 0;
}

async function find(event) {
  event.preventDefault();
  const text = at("text").value;
  at("go").disabled = true;
  say("Working …");
  try {
    const answer = await fetch("extract", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text }),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    const { entities } = said.results[0];
    show(text, entities);
    say(entities.length === 1 ? "1 entity" : `${entities.length} entities`);
  } catch (error) {
    say(error.message, true);
  } finally {
    at("go").disabled = false;
  }
}

at("form").addEventListener("submit", find);
at("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
