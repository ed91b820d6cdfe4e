-- Made by Benchfleet; changes here are undone by its next run.
-- Chooses the reporting bench that answers a report: of those in service that answer at their health
-- port, the one with the fewest calls. A bench whose replica is down or lags, so that it would read from
-- the primary, is used only when there is no other; without any, the primary's own pool for reports.
-- A light call goes to a node that can read from its replica and has a free process, or else to the
-- primary's ordinary bench.
--
-- A call for the primary's bench that was not sent yet waits while that bench is restarted or starts. If
-- the bench stays down, later calls do not wait. While MariaDB of this host is closed, as that of a former
-- primary which has not rejoined, the bench gets no calls.
--
-- While the forward file is there ("HOST ADDRESS PORT"), every call is passed on to the router of that host,
-- which is the primary now. Calls that wait look at the file when their wait ends: so those that are held while
-- the primary changes go to the new one.
--
-- State that must survive a change of location is in variables of nginx, as ngx.ctx does not survive it.
--   benchfleet_held     node whose count of calls this call is in
--   benchfleet_tried    nodes that this call was sent to, each followed by a space
--   benchfleet_sent     how many of these got it and failed
--   benchfleet_address  where it is sent now
--   benchfleet_spare    location that takes it when no node does
--   benchfleet_again    how often the primary's bench, or the other router, refused this call
--   benchfleet_forward  the other router that it is sent to
--   benchfleet_passed   how many routers have passed it on then

local FILE = "/etc/nginx/benchfleet/nodes"
-- Seconds that a node may take to answer at its health port, and that the whole choice may take.
local ASK, CHOICE = 0.5, 1.5
-- A mark expires after so many seconds unless it is renewed: a reload may have ended the worker that
-- renews it.
local MARK, AGAIN = 5, 1
-- What io.open says of a file that is not there (ENOENT).
local NO_FILE = 2
-- How many nodes are tried for a call, at most; nginx follows at most ten changes of location.
local MOST = 3
-- Seconds, from its beginning, for which a call waits for the primary's bench if no restart was announced,
-- and between two checks. An announced restart is waited for as long as the announcement is valid.
local PATIENCE, LOOK = 10, 0.05
-- Routers that may pass a call on, one after the other. A call that waits while the primary changes may come
-- back to the router where it began.
local HOPS = 3

local shared = ngx.shared.benchfleet
local own = tostring(ngx.worker.pid())
local settings, nodes, primary = {}, {}, nil

-- A router, from "HOST ADDRESS PORT"; without an address from any other text.
local function router_of(text)
    local name, host, port = text:match("^(%S+) (%S+) (%d+)$")
    if not name then
        return { name = "router" }
    end
    if host:find(":", 1, true) then
        host = "[" .. host .. "]"
    end
    return { name = "router " .. name, host = host, web = tonumber(port), address = host .. ":" .. port, gets = "calls" }
end

for line in io.lines(FILE) do
    local key, value = line:match("^(%l+) (.+)$")
    if key == "node" then
        local name, host, web, health, workers = value:match("^(%S+) (%S+) (%d+) (%d+) (%d+)$")
        nodes[#nodes + 1] = {
            name = name, host = host, web = tonumber(web), health = tonumber(health),
            address = host .. ":" .. web,
            -- One process is kept free of light calls, where there are more.
            light = math.max(1, tonumber(workers) - 1),
            gets = "reports",
        }
    elseif key == "primary" then
        local name, host, web = value:match("^(%S+) (%S+) (%d+)$")
        -- No node can have this name; the primary has no health port.
        primary = { name = "primary " .. name, host = host, web = tonumber(web), address = host .. ":" .. web, gets = "calls" }
    elseif key then
        settings[key] = value
    end
end
local window = tonumber(settings.window)
local guarded = settings.guard == "on"

-- The time now; nginx's cached time does not advance while Lua runs.
local function now()
    ngx.update_time()
    return ngx.now()
end

local function exists(path)
    local file = io.open(path)
    if file then
        file:close()
    end
    return file ~= nil
end

local function drained(node)
    return exists(settings.drained .. "/" .. node.name) or exists(settings.waiting .. "/" .. node.name)
end

-- Count this call as one of a node's.
local function hold(node)
    shared:incr("calls:" .. node.name, 1, 0)
    shared:incr("held:" .. own .. ":" .. node.name, 1, 0)
    ngx.var.benchfleet_held = node.name
end

-- This call is no longer one of a node's; nothing when it was none.
local function release()
    local name = ngx.var.benchfleet_held
    if name and name ~= "" then
        shared:incr("calls:" .. name, -1, 0)
        shared:incr("held:" .. own .. ":" .. name, -1, 0)
        ngx.var.benchfleet_held = ""
    end
end

-- Take calls of killed workers out of the counts. Every worker runs this when it starts, also one that
-- replaces a killed worker.
local function forget_killed_workers()
    for _, key in ipairs(shared:get_keys(0)) do
        local pid, name = key:match("^held:(%d+):(.+)$")
        if pid and pid ~= own and not exists("/proc/" .. pid .. "/stat") then
            shared:incr("calls:" .. name, -(shared:get(key) or 0), 0)
            shared:delete(key)
        end
    end
end

-- Connect, and read a line if one is expected: "ok", "away", "refused" or "silent".
local function knock(host, port, seconds, says)
    local ending = now() + seconds
    local socket = ngx.socket.tcp()
    socket:settimeouts(seconds * 1000, seconds * 1000, seconds * 1000)
    local connected, problem = socket:connect(host, port)
    if not connected then
        return problem == "connection refused" and "refused" or "silent"
    end
    local line = "ok"
    if says then
        socket:settimeouts(0, 0, math.max(1, (ending - now()) * 1000))
        line = socket:receive("*l")
    end
    socket:close()
    return (line == "ok" or line == "away") and line or "silent"
end

-- State of a node's bench: "ok", "away" when its replica cannot be read from, nil when it is down.
-- A bench without the guard has no health port: there only the web port is tried.
local function state_of(node, seconds)
    local ending = now() + seconds
    local answer = "refused"
    if guarded and node.health then
        answer = knock(node.host, node.health, seconds, true)
    end
    if answer == "refused" then
        answer = knock(node.host, node.web, math.max(0.001, ending - now()), false)
    end
    return (answer == "ok" or answer == "away") and answer or nil
end

-- Ask a marked node once a second until it answers.
local function ask_again(premature, node)
    if premature then
        shared:delete("asking:" .. node.name)
    elseif state_of(node, ASK) then
        shared:delete("down:" .. node.name)
        shared:delete("asking:" .. node.name)
        ngx.log(ngx.ERR, "benchfleet: ", node.name, " answers again and gets ", node.gets)
    else
        shared:set("down:" .. node.name, 1, MARK)
        shared:set("asking:" .. node.name, own, MARK)
        ngx.timer.at(AGAIN, ask_again, node)
    end
end

-- Send no calls to this node until it answers again.
local function mark(node)
    shared:set("down:" .. node.name, 1, MARK)
    if shared:add("asking:" .. node.name, own, MARK) then
        ngx.log(ngx.ERR, "benchfleet: ", node.name, " (", node.address, ") does not answer and gets no ", node.gets)
        ngx.timer.at(AGAIN, ask_again, node)
    end
end

-- The usable node with the fewest calls; in turn where there are several. For a light call, only a node
-- with a free process.
local function least_busy(skipped, light)
    local turn = shared:incr("turn", 1, 0)
    local best, fewest
    for n = 1, #nodes do
        local node = nodes[(turn + n) % #nodes + 1]
        if not skipped[node.name] and not shared:get("down:" .. node.name) and not drained(node) then
            local calls = shared:get("calls:" .. node.name) or 0
            if (not best or calls < fewest) and not (light and calls >= node.light) then
                best, fewest = node, calls
            end
        end
    end
    return best
end

-- Whether the last attempt never got a connection, so that nothing was sent.
local function never_sent()
    return (ngx.var.upstream_connect_time or ""):match("%-$") ~= nil
end

-- Judge the last attempt; false when this call may not be sent to another node.
local function may_go_on(skipped)
    local last
    for name in (ngx.var.benchfleet_tried or ""):gmatch("%S+") do
        skipped[name] = true
        last = name
    end
    if not last then
        return true
    end
    if never_sent() then
        for _, node in ipairs(nodes) do
            if node.name == last then
                mark(node)
            end
        end
    else
        -- A report that ended one bench's process may end the next one's, so one more node is tried, not
        -- all. A bench that was only too slow still works on it.
        local sent = (tonumber(ngx.var.benchfleet_sent) or 0) + 1
        ngx.var.benchfleet_sent = sent
        if sent > 1 or (ngx.var.upstream_status or ""):match("504$") then
            return false
        end
    end
    return now() - ngx.req.start_time() <= window
end

-- Send this call to a node that it is already counted in.
local function send_to(node, tried)
    ngx.var.benchfleet_tried = tried .. node.name .. " "
    ngx.var.benchfleet_address = node.address
end

-- Count this call in a node, unless the node is drained. Count first, then check: a drain writes its file
-- first and then reads the count.
local function enter(node)
    hold(node)
    if drained(node) then
        release()
        return false
    end
    return true
end

-- Whether there is a file with the time until which it is valid.
local function is_valid(path)
    local file = io.open(path)
    if not file then
        return false
    end
    local ending = tonumber(file:read("*l") or "")
    file:close()
    return ending ~= nil and now() < ending
end

-- Whether the primary's bench is being restarted.
local function is_held()
    return is_valid(settings.hold)
end

-- Whether MariaDB of this host is closed: its bench could change nothing, and what it reads may be old.
local function is_closed()
    return is_valid(settings.closed)
end

-- Wait for the end of a restart of the primary's bench, which may include its pool.
local function wait_while_held()
    while is_held() do
        ngx.sleep(LOOK)
    end
end

-- Answer that the primary's bench is down: with a page, or in the desk's form.
local function answer_away()
    local page = (ngx.var.http_accept or ""):find("text/html", 1, true)
    return ngx.exec(page and "@primary_away_page" or "@primary_away")
end

-- The router that the forward file names, nil when there is no file. Without an address when the file cannot be
-- read: then this host is not the primary either.
local function forwarded()
    local file, problem, number = io.open(settings.forward)
    if not file and number == NO_FILE then
        return nil
    end
    local line = file and file:read("*l") or ""
    if file then
        file:close()
    end
    local router = router_of(line)
    if not router.address then
        ngx.log(ngx.ERR, "benchfleet: ", settings.forward, " names no router: ", problem or line)
    end
    return router
end

-- Pass this call on to a router.
local function pass_to(target)
    local hops = (tonumber(ngx.var.benchfleet_hops) or 0) + 1
    if hops > HOPS then
        return ngx.exec("@forward_loop")
    end
    if not target.address or (shared:get("down:" .. target.name) and not state_of(target, ASK)) then
        return answer_away()
    end
    ngx.var.benchfleet_forward = target.address
    ngx.var.benchfleet_passed = hops
    return ngx.exec("@forward")
end

-- Pass this call on to another router; nothing while there is no forward file.
local function pass_on()
    local target = forwarded()
    if target then
        return pass_to(target)
    end
end

-- Rewrite phase of every call. Later changes of location, such as to a file that a bench hands out, are no calls.
local function enter_router()
    if not ngx.req.is_internal() and forwarded() then
        wait_while_held()
        return pass_on()
    end
end

-- A call that another router did not answer: if it was not sent, it is sent once that listens. If this host takes
-- the other one's place, the call waits for that. It has left the locations of its own behind, so it then comes in
-- once more, by the port for other routers.
local function forward_lost()
    if not never_sent() then
        return ngx.exec("@primary_lost")
    end
    local times = (tonumber(ngx.var.benchfleet_again) or 0) + 1
    ngx.var.benchfleet_again = times
    local ending = ngx.req.start_time() + PATIENCE
    local target = forwarded()
    while times <= MOST do
        if not is_held() then
            if not target then
                return pass_to(router_of(settings.own))
            end
            if not target.address or now() > ending or shared:get("down:" .. target.name) then
                break
            end
            if state_of(target, ASK) then
                return pass_to(target)
            end
        end
        ngx.sleep(LOOK)
        target = forwarded()
    end
    if target and target.address then
        mark(target)
    end
    return answer_away()
end

-- Wait for the end of a hold, then pass this call on if another router has taken over meanwhile (access phase of
-- realtime, and first half of before_database).
local function before_bench()
    wait_while_held()
    return pass_on()
end

-- The same for a call that needs this host's database; it is refused while that is closed.
local function before_database()
    before_bench()
    if is_closed() then
        return answer_away()
    end
end

-- Send this call to a node (access phase of @report), or to where it goes when there is none.
local function choose()
    local spare = ngx.var.benchfleet_spare
    local light = spare == "@light"
    local tried = ngx.var.benchfleet_tried or ""
    local skipped, second_best = {}, {}
    release()
    if not may_go_on(skipped) then
        return ngx.exec("@report_lost")
    end
    local _, attempts = tried:gsub(" ", "")
    if attempts >= (light and 1 or MOST) then
        return ngx.exec(spare)
    end
    local ending = now() + CHOICE
    while true do
        local left = ending - now()
        local node = left > 0 and least_busy(skipped, light)
        if not node then
            break
        end
        skipped[node.name] = true
        if enter(node) then
            local state = state_of(node, math.min(ASK, left))
            if state == "ok" then
                return send_to(node, tried)
            end
            release()
            if state == "away" then
                second_best[#second_best + 1] = node
            else
                mark(node)
            end
        end
    end
    for _, node in ipairs(light and {} or second_best) do
        if enter(node) then
            return send_to(node, tried)
        end
    end
    before_database()
    return ngx.exec(spare)
end

-- Access phase of a call that goes to the primary's bench.
local function before_primary()
    before_database()
    if shared:get("down:" .. primary.name) then
        if not state_of(primary, ASK) then
            return answer_away()
        end
        shared:delete("down:" .. primary.name)
    end
end

-- Access phase of a call that the primary's bench did not answer: if it was not sent, it is sent once the
-- bench listens again.
local function again()
    if not never_sent() then
        return ngx.exec("@primary_lost")
    end
    local times = (tonumber(ngx.var.benchfleet_again) or 0) + 1
    ngx.var.benchfleet_again = times
    local ending = ngx.req.start_time() + PATIENCE
    while times <= MOST and (is_held() or now() < ending) and not shared:get("down:" .. primary.name) do
        if not is_held() then
            pass_on()
            if not is_closed() and state_of(primary, ASK) then
                return
            end
        end
        ngx.sleep(LOOK)
    end
    pass_on()
    mark(primary)
    return answer_away()
end

-- Access phase of a call that the pool did not answer: only one that the pool never got is sent on.
local function after_pool()
    if not never_sent() then
        return ngx.exec("@report_lost")
    end
    return before_primary()
end

forget_killed_workers()
package.loaded.benchfleet_nodes = {
    choose = choose, release = release, after_pool = after_pool, before_primary = before_primary, again = again,
    enter_router = enter_router, before_bench = before_bench, forward_lost = forward_lost,
}
return package.loaded.benchfleet_nodes
