-- Made by Benchfleet; changes here are undone by its next run.
-- Decides whether a call is a report. A report is answered by a reporting bench (named location @report,
-- where nodes.lua chooses one); every other call, and every doubtful one, goes to the primary's bench.
--
-- Frappe runs the method that `cmd` names, in the query or in the body, whatever the path is, and only
-- without a `cmd` the method in the path. So a call is a report when every method that it names, in any
-- of these places, is one.

-- Bodies up to this many bytes are read; a larger one is an upload, not a report.
local LIMIT = 1024 * 1024

-- Whether a method is more than one of the desk's small calls.
local heavy = false

-- Whether the value of a map in benchfleet.conf ("heavy", "light", or nothing) means a report.
local function note(kind)
    heavy = heavy or kind ~= "light"
    return kind == "heavy" or kind == "light"
end

-- Whether a method is a report, by a volatile map.
local function is_report(method)
    if type(method) ~= "string" then
        return false
    end
    ngx.var.benchfleet_cmd = method
    return note(ngx.var.benchfleet_report_cmd)
end

-- The verdict on the methods named so far: nil = none named, true = only reports.
local function judge(so_far, method)
    return so_far ~= false and is_report(method)
end

-- The verdict with every `cmd` of decoded arguments.
local function judge_arguments(so_far, arguments)
    local value = arguments.cmd
    if type(value) == "table" then
        for _, one in ipairs(value) do
            so_far = judge(so_far, one)
        end
        return so_far
    end
    if value ~= nil then
        return judge(so_far, value)
    end
    return so_far
end

-- The body as text, nil when it is larger than LIMIT.
local function body_text()
    local length = tonumber(ngx.var.http_content_length)
    if length and length > LIMIT then
        return nil
    end
    ngx.req.read_body()
    local text = ngx.req.get_body_data()
    if text then
        return #text <= LIMIT and text or nil
    end
    local path = ngx.req.get_body_file()
    if not path then
        return ""
    end
    local file = io.open(path, "rb")
    if not file then
        return nil
    end
    text = file:read(LIMIT + 1) or ""
    file:close()
    return #text <= LIMIT and text or nil
end

-- The verdict with a multipart form. Anything but a plain boundary, as browsers and clients send it, and
-- plain `form-data; name="…"` parts is doubtful.
local function judge_multipart(so_far, text, content_type)
    local boundary = content_type:match("^multipart/form%-data;%s*boundary=([%w_-]+)$")
        or content_type:match('^multipart/form%-data;%s*boundary="([%w_-]+)"$')
    if not boundary or #boundary > 70 then
        return false
    end
    local marker = "--" .. boundary
    if text:sub(1, #marker) ~= marker then
        return false
    end
    local position = #marker + 1
    while true do
        if text:sub(position, position + 1) == "--" then
            -- After the end there must be no further part, which a more lenient reader would take.
            return not text:find(marker, position, true) and so_far
        end
        if text:sub(position, position + 1) ~= "\r\n" then
            return false
        end
        local head_end = text:find("\r\n\r\n", position, true)
        if not head_end then
            return false
        end
        local next_marker = text:find(marker, head_end + 2, true)
        if not next_marker or text:sub(next_marker - 2, next_marker - 1) ~= "\r\n" or next_marker - 2 < head_end + 4 then
            return false
        end
        local name
        for line in text:sub(position + 2, head_end + 1):gmatch("(.-)\r\n") do
            local key, value = line:match("^([%w-]+):%s*(.-)%s*$")
            if not key or line:find("[\r\n%z]") then
                return false
            end
            key = key:lower()
            if key == "content-disposition" then
                if name then
                    return false
                end
                name = value:match('^form%-data;%s*name="([^"\\]*)"$')
                if not name then
                    local file_field = value:match('^form%-data;%s*name="([^"\\]*)";%s*filename="[^"\\]*"$')
                    if not file_field or file_field == "cmd" then
                        return false
                    end
                    name = file_field
                end
            elseif key ~= "content-type" then
                return false
            end
        end
        if not name then
            return false
        end
        if name == "cmd" then
            so_far = judge(so_far, text:sub(head_end + 4, next_marker - 3))
        end
        position = next_marker + #marker
    end
end

-- The verdict with the body, by its declared type.
local function judge_body(so_far)
    local headers, problem = ngx.req.get_headers(0)
    if problem or headers["content-encoding"] then
        return false
    end
    local content_type = headers["content-type"]
    if type(content_type) == "table" then
        return false
    end
    local text = body_text()
    if not text then
        return false
    end
    if text == "" then
        return so_far
    end
    content_type = content_type or ""
    local lower = content_type:lower()
    local charset = lower:match("charset=\"?([^;%s\"]+)")
    if charset and charset ~= "utf-8" then
        return false
    end
    local kind = lower:match("^%s*([^;%s]*)")
    if kind == "application/x-www-form-urlencoded" then
        local arguments, trouble = ngx.decode_args(text, 0)
        if trouble then
            return false
        end
        return judge_arguments(so_far, arguments)
    end
    if kind == "multipart/form-data" then
        return judge_multipart(so_far, text, content_type)
    end
    -- JSON, or a type that the bench may take for it. Frappe then ignores the query, so the path must
    -- name the report. A key `cmd`, even one with escapes (\u0063\u006d\u0064), is doubtful, and so is
    -- text in which it could not be found (UTF-16 and UTF-32 have zero bytes).
    if ngx.var.uri == "/" or text:find("cmd", 1, true) or text:find("\\u006", 1, true) or text:find("%z") then
        return false
    end
    return so_far
end

local function decide()
    local method = ngx.req.get_method()
    if method ~= "GET" and method ~= "POST" then
        return false
    end
    local verdict
    if ngx.var.uri ~= "/" then
        if not note(ngx.var.benchfleet_report_path) then
            return false
        end
        verdict = true
    end
    local arguments, problem = ngx.req.get_uri_args(0)
    if problem then
        return false
    end
    verdict = judge_arguments(verdict, arguments)
    if verdict == false then
        return false
    end
    if ngx.var.http_content_length or ngx.var.http_transfer_encoding then
        verdict = judge_body(verdict)
    end
    return verdict == true
end

local went_well, report = pcall(decide)
if not went_well then
    ngx.log(ngx.ERR, "benchfleet: the primary answers, for this call could not be judged: ", report)
end
if went_well and report then
    if not heavy then
        ngx.var.benchfleet_spare = "@light"
    end
    return ngx.exec("@report")
end
return (package.loaded.benchfleet_nodes or dofile("/etc/nginx/benchfleet/nodes.lua")).before_primary()
