/** `skep completion`: the scripts for the shells. They ask `skep __complete` with the words so far. */
import { Argument } from 'commander';
import type { Configure } from './context.ts';

const BASH = String.raw`# skep completion for bash. To use it now:     source <(skep completion bash)
# for all users:   skep completion bash > /usr/share/bash-completion/completions/skep
_skep() {
  local line=\${COMP_LINE:0:COMP_POINT} current word cut
  local -a words
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current=\${words[-1]}
  # bash itself splits words at = and :, and completes what is behind the last of them.
  cut=\${current%"\${current##*[=:]}"}
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    if [[ $word == :files ]]; then
      compopt -o filenames
      while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "\${current#"$cut"}")
      continue
    fi
    COMPREPLY+=("\${word#"$cut"}")
    [[ $word == *[=:] ]] && compopt -o nospace
  done < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
}
complete -F _skep skep
`;

const ZSH = String.raw`#compdef skep
# skep completion for zsh. To use it now:   source <(skep completion zsh)
# for good: write it as _skep into a folder of $fpath
_skep() {
  local -a described plain
  local line word about files=0
  while IFS=$'\t' read -r word about; do
    if [[ $word == :files ]]; then files=1; continue; fi
    if [[ -n $about ]]; then described+=("\${word//:/\\:}:$about"); else plain+=("$word"); fi
  done < <("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#described} )) && _describe -t commands 'skep' described
  (( \${#plain} )) && compadd -- "\${plain[@]}"
  (( files )) && _files
  return 0
}
if [[ \${funcstack[1]-} == _skep ]]; then _skep "$@"; else compdef _skep skep; fi
`;

const FISH = `# skep completion for fish. To use it now:   skep completion fish | source
# for good:   skep completion fish > ~/.config/fish/completions/skep.fish
function __skep_complete
    set -l words (commandline -opc)
    set -l open (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$open" 2>/dev/null)
        if test "$line" = ':files'
            __fish_complete_path "$open"
        else
            echo $line
        end
    end
end
complete -c skep -f -a '(__skep_complete)'
`;

const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const;

export const completion: Configure = (command, context) => {
  command
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices(Object.keys(SCRIPTS)))
    .action((shell: keyof typeof SCRIPTS) => {
      context.stdout.write(SCRIPTS[shell].replaceAll('\\${', '${'));
    });
};
