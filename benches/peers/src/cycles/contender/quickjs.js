// Builds the structures of `Scene::build`, for QuickJS. A function of the shape and the objects. It leaves `giveUp`, which gives up
// so many structures and says how many are left.

(function (shape, objects) {
  const size = { pairs: 2, rings: 100, list: objects }[shape];
  const heads = { live: [], dead: [] };
  const node = (value) => ({ value, first: null, second: null });
  for (let left = objects; left > 0; left -= size) {
    const live = [], dead = [];
    for (let number = 0; number < Math.min(size, left); number++) {
      live.push(node(number));
      dead.push(node(number));
    }
    if (shape === "rings") dead.forEach((node, at) => { node.second = live[at]; });
    for (const [nodes, to] of [[live, heads.live], [dead, heads.dead]]) {
      for (let at = 0; at + 1 < nodes.length; at++) {
        nodes[at].first = nodes[at + 1];
        if (shape === "list") nodes[at + 1].second = nodes[at];
      }
      if (shape !== "list" && nodes.length > 1) nodes[nodes.length - 1].first = nodes[0];
      to.push(nodes[0]);
    }
  }
  globalThis.live = heads.live;
  globalThis.giveUp = (handles) => {
    heads.dead.length = Math.max(0, heads.dead.length - handles);
    return heads.dead.length;
  };
})
